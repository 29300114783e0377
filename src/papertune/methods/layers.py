"""The layers of a model by name and number."""

from typing import TYPE_CHECKING, Any

from papertune.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


def decoder_layers(model: Any) -> "tuple[str, nn.ModuleList]":
    """Return the path of the model's decoder layers, and the layers."""
    from torch import nn

    count = getattr(model.config, "num_hidden_layers", None)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, module
    raise ModelError(f"{type(model).__name__}: its decoder layers cannot be found, so the last ones cannot be chosen.")


def last_layers(layers: "nn.ModuleList", count: int) -> range:
    """Return the numbers of the last layers; raise a ModelError if there are fewer."""
    if count > len(layers):
        raise ModelError(
            f"method.layers is {count}, but the model has {len(layers)} layers. Choose at most {len(layers)}."
        )
    return range(len(layers) - count, len(layers))


def linear_layer_names(model: Any) -> list[str]:
    """Return the names of the model's linear layers but the output layer, without their paths."""
    from torch import nn

    output = model.get_output_embeddings()
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not output}
    return sorted({name.rsplit(".", 1)[-1] for name in linear})
