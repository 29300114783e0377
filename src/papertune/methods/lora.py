"""LoRA: low-rank adapters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from papertune.errors import ModelError, RecipeError
from papertune.kinds.base import Text
from papertune.methods.layers import decoder_layers, last_layers, linear_layer_names
from papertune.methods.method import AdapterMethod


class LoraMethod(AdapterMethod):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): W = W0 + scale x B A.

    Attributes:
        rank: Rank of B A.
        alpha: The scale is alpha / rank, or alpha / sqrt(rank) with `rslora` (arXiv:2312.03732).
        dropout: Dropout on the adapter's input while training.
        targets: Names of the linear layers to adapt, or "all-linear" (all but the output layer).
        layers: Only in this many decoder layers, counted from the last; None: in all. The backward pass ends at the
            first adapted layer, so half the layers train in well under two thirds of the time.
        rslora: Scale by the square root of the rank.
        dora: Train magnitude and direction separately (arXiv:2402.09353).
        base_bits: Bits of a weight in the base model's linear layers (QLoRA, arXiv:2305.14314); None: they have the
            precision of the training.
        start_from: A run whose adapter is trained further.
    """

    kind: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear"] | tuple[Text, ...] = "all-linear"
    layers: Annotated[int, Field(ge=1)] | None = None
    rslora: bool = False
    dora: bool = False
    base_bits: Literal[4, 8] | None = None
    start_from: Text | None = None

    peft_type: ClassVar[str] = "LORA"
    adapter_name: ClassVar[str] = "LoRA adapter"
    needed_keys: ClassVar[tuple[str, ...]] = ("r", "lora_alpha")
    tensor_names: ClassVar[tuple[str, ...]] = (".lora_A.", ".lora_B.")

    @property
    def base_model_bits(self) -> Literal[4, 8] | None:
        """Bits of a weight of the base model; None: it is not quantized."""
        return self.base_bits

    @property
    def start_run(self) -> str | None:
        """The run whose adapter is trained further."""
        return self.start_from

    def build(self, model: Any) -> Any:
        """Put new adapters on a base model."""
        from peft import LoraConfig, TaskType, get_peft_model

        _check_dora_fits(model, dora=self.dora)
        known = linear_layer_names(model)
        targets = known if self.targets == "all-linear" else list(self.targets)
        if unknown := [target for target in targets if target not in known]:
            raise ModelError(
                f"method.targets names {', '.join(unknown)}, but the model has no such linear layer. It has: "
                f'{", ".join(known)}. Or use "all-linear".'
            )
        last: dict[str, Any] = {}
        if self.layers is not None:
            path, layers = decoder_layers(model)
            chosen = last_layers(layers, self.layers)
            last = {"layers_to_transform": list(chosen), "layers_pattern": path.rsplit(".", 1)[-1]}
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            use_rslora=self.rslora,
            use_dora=self.dora,
            **last,
        )
        return get_peft_model(model, config, autocast_adapter_dtype=True)

    @classmethod
    def load(cls, model: Any, folder: Path, config: Mapping[str, Any], *, trainable: bool) -> Any:
        """Put a saved adapter on a base model."""
        _check_dora_fits(model, dora=bool(config.get("use_dora")))
        return super().load(model, folder, config, trainable=trainable)

    @classmethod
    def load_for_prediction(cls, model: Any, folder: Path, config: Mapping[str, Any]) -> Any:
        """Return a base model with a saved adapter; where it can be merged without peft, peft is not imported."""
        from papertune.methods.plain_lora import add_plain_lora
        from papertune.models import is_quantized

        if not is_quantized(model) and add_plain_lora(model, folder, config):
            return model.requires_grad_(False)
        return super().load_for_prediction(model, folder, config)

    def adopted(self, config: Mapping[str, Any]) -> "LoraMethod":
        """Return the method that has trained an adapter, for a base model of as many bits as here."""
        targets = config.get("target_modules")
        return LoraMethod(
            rank=config["r"],
            alpha=config["lora_alpha"],
            dropout=config.get("lora_dropout") or 0.0,
            targets=tuple(targets) if isinstance(targets, list) and targets else "all-linear",
            rslora=bool(config.get("use_rslora")),
            dora=bool(config.get("use_dora")),
            base_bits=self.base_bits,
        )

    def inherited_settings(self, config: Mapping[str, Any], run: Path) -> dict[str, Any]:
        """Return the rank and alpha of the adapter of `start_from`."""
        if config["peft_type"] != self.peft_type:
            raise RecipeError(
                f"method.start_from: {run} holds a P-Tuning v2 prefix, and only a LoRA adapter can be a start. "
                "Name a run of LoRA, or leave start_from out."
            )
        inherited = {"rank": config.get("r"), "alpha": config.get("lora_alpha")}
        for key, value in inherited.items():
            if key in self.model_fields_set and getattr(self, key) != value:
                raise RecipeError(
                    f"method.{key} is {getattr(self, key)}, but the adapter of {run} has {value}. Leave it out."
                )
        return inherited

    def memory_variants(self) -> dict[str, "LoraMethod"]:
        """Return this method with a base model of each number of bits."""
        return {
            "lora": self.model_copy(update={"base_bits": None}),
            "lora, base_bits = 8": self.model_copy(update={"base_bits": 8}),
            "lora, base_bits = 4": self.model_copy(update={"base_bits": 4}),
        }


def _check_dora_fits(model: Any, *, dora: bool) -> None:
    """Refuse DoRA on 8-bit weights on a CPU, where peft loses their scales when it measures them."""
    if dora and getattr(model, "is_loaded_in_8bit", False) and model.device.type == "cpu":
        raise ModelError(
            "method.dora = true with method.base_bits = 8 does not work on a CPU. Use a GPU, base_bits = 4, or no dora."
        )
