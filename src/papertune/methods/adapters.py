"""Adapters in peft's file format, whatever method has trained them."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_core import PydanticCustomError

from papertune.errors import RecipeError, RunError
from papertune.methods.method import AdapterMethod, TrainingMethod
from papertune.methods.registry import adapter_methods
from papertune.records import problem_of_value

if TYPE_CHECKING:
    import torch


def _one_or_several(kind: type) -> AfterValidator:
    """Return a validator for a value of a type, a list of such values, or None."""

    def check(value: Any) -> Any:
        if all(type(each) is kind for each in (value if isinstance(value, list) else [value])) or value is None:
            return value
        name = "text" if kind is str else "a whole number"
        raise PydanticCustomError("one_or_several", f"input should be {name} or a list of such")

    return AfterValidator(check)


class _AdapterFile(BaseModel):
    """The keys with which papertune computes; null is the default of peft."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    peft_type: str | None = None
    r: PositiveInt | None = None
    lora_alpha: float | None = None
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    target_modules: Annotated[Any, _one_or_several(str)] = None
    layers_to_transform: Annotated[Any, _one_or_several(int)] = None
    layers_pattern: Annotated[Any, _one_or_several(str)] = None
    use_rslora: bool | None = None
    use_dora: bool | None = None
    num_virtual_tokens: PositiveInt | None = None
    prefix_projection: bool | None = None


def check_adapter(folder: Path) -> dict[str, Any]:
    """Read an adapter's configuration and check that its weights are there.

    Returns:
        The content of adapter_config.json.

    Raises:
        RunError: If the folder is not an adapter of a known method.
    """
    config_file = folder / "adapter_config.json"
    if not config_file.is_file():
        raise RunError(f"{folder} holds no adapter_config.json, so it is not an adapter in peft's format.")
    try:
        config = json.loads(config_file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{config_file} is not JSON: {error}.") from None
    if not isinstance(config, dict):
        raise RunError(f"{config_file} is not a JSON object, so it is not the configuration of an adapter.")
    try:
        _AdapterFile.model_validate(config)
    except ValidationError as error:
        raise RunError(f"{config_file}: {problem_of_value(error)}. Fetch it again.") from None
    if not any((folder / name).is_file() for name in ("adapter_model.safetensors", "adapter_model.bin")):
        raise RunError(f"{folder} has an adapter_config.json but no adapter_model.safetensors or adapter_model.bin.")
    if config.get("peft_type") not in adapter_methods():
        known = " and ".join(adapter_methods())
        raise RunError(f"{folder}: a {config.get('peft_type')} adapter; only {known} are supported.")
    method = _method(config)
    for key in method.needed_keys:
        if config.get(key) is None:
            raise RunError(f"{config_file} has no '{key}', so it is not the configuration of a {method.adapter_name}.")
    return config


def load_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Put a saved adapter on a base model.

    Raises:
        ModelError: If the adapter does not fit the model.
        RunError: If the folder is not an adapter, or its weights cannot be read.
    """
    config = check_adapter(folder)
    return _method(config).load(model, folder, config, trainable=trainable)


def load_for_prediction(model: Any, folder: Path) -> Any:
    """Return a base model that predicts with a saved adapter; the base model is changed.

    Raises:
        ModelError: If the adapter does not fit the model.
        RunError: If the folder is not an adapter, or its weights cannot be read.
    """
    config = check_adapter(folder)
    return _method(config).load_for_prediction(model, folder, config)


def is_plain_adapter(folder: Path) -> bool:
    """Whether `add_adapter` may be able to add a saved adapter; found out without the weights of a model.

    Raises:
        RunError: If the folder is not an adapter.
    """
    from papertune.methods.plain_lora import is_plain

    return is_plain(check_adapter(folder))


def add_adapter(model: Any, folder: Path) -> bool:
    """Add a saved adapter to the weights of a base model in memory, without peft.

    Args:
        model: The base model, or its weights under the same names.
        folder: The adapter.

    Returns:
        Whether that was possible. If not, the model is unchanged.

    Raises:
        RunError: If the folder is not an adapter.
    """
    from papertune.methods.plain_lora import add_plain_lora

    return add_plain_lora(model, folder, check_adapter(folder))


def merge_adapter(model: Any) -> Any:
    """Add an adapter to its base weights, and return the plain model."""
    return model.merge_and_unload()


def adopted_method(method: TrainingMethod, config: Mapping[str, Any], source: Path) -> TrainingMethod:
    """Return the method that has trained an adapter.

    Args:
        method: The recipe's method; settings that an adapter does not have come from it.
        config: Content of adapter_config.json.
        source: Where the adapter is, for messages.

    Raises:
        RecipeError: If the recipe's method is of another kind.
        RunError: If a value of the configuration is not one that a recipe can have.
    """
    found = _method(config)
    if not isinstance(method, found):
        raise RecipeError(
            f'method.kind is "{method.kind}", but {source} is a {found.adapter_name}. Set it to "{found.kind_name()}".'
        )
    try:
        return method.adopted(config)
    except ValidationError as error:
        raise RunError(
            f"{source / 'adapter_config.json'}: {problem_of_value(error)}, so the adapter cannot be adopted."
        ) from None


def _method(config: Mapping[str, Any]) -> type[AdapterMethod]:
    return adapter_methods()[config["peft_type"]]


def adapters_in_compute_dtype(model: Any, dtype: "torch.dtype") -> AbstractContextManager[None]:
    """Let autocast alone decide in which dtype adapters multiply, while the context is open.

    peft casts the input of each adapted layer to the adapter's float32, and autocast casts it back: two copies of
    every activation for nothing.
    """
    import torch

    if dtype == torch.float32 or not hasattr(model, "peft_config"):
        return nullcontext()
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(model)  # type: ignore[no-any-return]
