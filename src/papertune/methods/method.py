"""What all methods have in common: a part of the recipe that also builds, saves and loads the model.

Recipes import the methods, so torch and peft are imported inside functions.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from papertune.errors import ModelError, RunError
from papertune.kinds.base import Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TrainingMethod(Part, ABC):
    """Which parameters are trained and how they are kept.

    Attributes:
        kind: The method's name in a recipe.
        trains: Whether any parameters of the model are trained.
        saves_adapter: Whether a run keeps an adapter for its base model; otherwise it keeps a whole model.
        learns_text: Whether it can learn whole texts, as stage "pt" does.
        has_memory_row: Whether the table of training memory shows the method's defaults beside other methods.
    """

    kind: str

    trains: ClassVar[bool] = True
    saves_adapter: ClassVar[bool]
    learns_text: ClassVar[bool] = True
    has_memory_row: ClassVar[bool] = True

    @property
    def prefix_tokens(self) -> int:
        """How many virtual tokens stand before each prompt."""
        return 0

    @classmethod
    def kind_name(cls) -> str:
        """Return the one value that `kind` can have."""
        (name,) = get_args(cls.model_fields["kind"].annotation)
        return str(name)

    @property
    def base_model_bits(self) -> Literal[4, 8] | None:
        """Bits of a weight of the base model; None: it is not quantized."""
        return None

    @property
    def start_run(self) -> str | None:
        """The run whose adapter is trained further; None: training begins from new parameters."""
        return None

    def base_dtype(self, compute_dtype: "torch.dtype") -> "torch.dtype":
        """Return the dtype in which the base model is loaded for training."""
        return compute_dtype

    @abstractmethod
    def build(self, model: Any) -> Any:
        """Make a base model trainable, and return it or a peft model around it; trainable parameters are float32.

        Raises:
            ModelError: If the method does not fit the model.
        """

    def begin_as_text(self, model: Any, ids: Sequence[int]) -> None:
        """Let new parameters begin as a text, in a method that can.

        Args:
            model: What `build` has returned.
            ids: Token ids of the text.
        """

    @abstractmethod
    def save(self, model: Any, folder: Path, base_name: str, dtype: "torch.dtype") -> None:
        """Save what was trained.

        Args:
            model: The trained model.
            folder: A new folder.
            base_name: The base model's name in the recipe; peft would keep a path of this machine.
            dtype: Of the weights of a whole model; adapters are saved in float32.
        """

    def rate_advice(self, learning_rate: float) -> str:
        """Return a message if a learning rate is far from what the method needs; "" if it is not."""
        return ""

    def inherited_settings(self, config: Mapping[str, Any], run: Path) -> dict[str, Any]:
        """Return the settings that come from the adapter of `start_run`.

        Args:
            config: Content of its adapter_config.json.
            run: The run directory.

        Raises:
            RecipeError: If the adapter cannot be a start, or the recipe contradicts it.
        """
        return {}

    def check_mergeable(self, run: Path) -> None:
        """Raise a RunError if a run of this method cannot be written as an ordinary model."""

    def memory_variants(self) -> dict[str, Self]:
        """Return the variants of this method that the table of training memory compares, by name."""
        return {self.kind: self}


class WholeModelMethod(TrainingMethod):
    """A method that trains parameters of the base model itself, so a run keeps a whole model."""

    saves_adapter: ClassVar[bool] = False

    def save(self, model: Any, folder: Path, base_name: str, dtype: "torch.dtype") -> None:
        """Save the whole model in one dtype."""
        model.to(dtype).save_pretrained(folder)


class AdapterMethod(TrainingMethod):
    """A method that trains new parameters for a frozen base model and keeps them in peft's format.

    Attributes:
        peft_type: The method's name in adapter_config.json.
        adapter_name: What messages call the adapter.
        needed_keys: The keys that adapter_config.json must have.
        tensor_names: What the names of its tensors contain; no other tensor of a file is checked.
    """

    saves_adapter: ClassVar[bool] = True
    peft_type: ClassVar[str]
    adapter_name: ClassVar[str]
    needed_keys: ClassVar[tuple[str, ...]] = ()
    tensor_names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def adopted(self, config: Mapping[str, Any]) -> Self:
        """Return the method that has trained an adapter; settings that adapters do not have are as here.

        Args:
            config: The content of adapter_config.json, which has the `needed_keys`.
        """

    def save(self, model: Any, folder: Path, base_name: str, dtype: "torch.dtype") -> None:
        """Save the adapter."""
        for config in model.peft_config.values():
            config.base_model_name_or_path = base_name
        # Embeddings are never adapted; by default peft asks the hub whether they were.
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)

    @classmethod
    def load(cls, model: Any, folder: Path, config: Mapping[str, Any], *, trainable: bool) -> Any:
        """Put a saved adapter on a base model.

        Args:
            model: The base model.
            folder: The adapter's folder.
            config: Content of its adapter_config.json.
            trainable: Whether it is trained further.

        Raises:
            ModelError: If the adapter does not fit the model: layers are missing, are too many, or have other shapes.
            RunError: If its weights cannot be read.
        """
        from peft import PeftModel, get_peft_model_state_dict

        saved = read_adapter_weights(folder)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                adapted = PeftModel.from_pretrained(model, folder, is_trainable=trainable, autocast_adapter_dtype=True)
        except Exception as error:  # whatever peft raises for a configuration that it does not expect
            raise ModelError(f"{folder}: the adapter does not fit the base model: {error}") from error
        missing = [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]
        if missing:
            raise ModelError(f"{folder}: the adapter does not fit the base model: {missing[0][:300]}")
        # peft is silent about weights for layers that the model does not have.
        known = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        unknown = [key for key in saved if cls._is_own_tensor(key) and key not in known]
        if unknown:
            raise ModelError(f"{folder}: the adapter does not fit the base model, which has no {unknown[0]}.")
        return adapted

    @classmethod
    def load_for_prediction(cls, model: Any, folder: Path, config: Mapping[str, Any]) -> Any:
        """Return a base model that predicts with a saved adapter.

        The adapter is merged into the weights. It stays beside quantized ones: a few bits have no room for the sum,
        which would be rounded to their levels, and most of what was trained would be lost.

        Raises:
            ModelError, RunError: As in `load`.
        """
        from papertune.models import is_quantized

        adapted = cls.load(model, folder, config, trainable=False)
        if not is_quantized(model):
            return adapted.merge_and_unload()
        base = adapted.get_base_model()
        for name, parameter in base.named_parameters():
            if cls._is_own_tensor(name):
                parameter.data = parameter.data.to(base.dtype)  # or every input is cast to float32 and back
        return base

    @classmethod
    def _is_own_tensor(cls, name: str) -> bool:
        return any(part in name for part in cls.tensor_names)


def read_adapter_weights(folder: Path) -> dict[str, "Tensor"]:
    """Read the weights of a saved adapter.

    Raises:
        RunError: If they cannot be read.
    """
    from pickle import UnpicklingError

    from peft.utils import load_peft_weights
    from safetensors import SafetensorError

    try:
        weights: dict[str, Tensor] = load_peft_weights(str(folder), device="cpu")
    except (OSError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise RunError(f"{folder}: the adapter's weights cannot be read: {error}. Fetch them again.") from error
    return weights
