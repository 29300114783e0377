"""Training of some layers only."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from papertune.errors import ModelError
from papertune.kinds.base import Text
from papertune.methods.layers import decoder_layers, last_layers
from papertune.methods.method import WholeModelMethod

if TYPE_CHECKING:
    from torch import nn


class FreezeMethod(WholeModelMethod):
    """Only some layers are trained; the rest of the base model stays as it is.

    Attributes:
        layers: Number of decoder layers, counted from the last.
        modules: Only these children of each layer (for example "mlp"); empty: the whole layer.
    """

    kind: Literal["freeze"]
    layers: Annotated[int, Field(ge=1)] = 2
    modules: tuple[Text, ...] = ()

    has_memory_row: ClassVar[bool] = False  # its memory depends on how many layers are chosen

    def build(self, model: Any) -> Any:
        """Make the chosen layers trainable."""
        path, layers = decoder_layers(model)
        chosen = last_layers(layers, self.layers)
        model.requires_grad_(False)
        for index in chosen:
            for module in self._parts(layers[index], f"{path}.{index}"):
                module.float().requires_grad_(True)
        return model

    def _parts(self, layer: "nn.Module", path: str) -> "list[nn.Module]":
        if not self.modules:
            return [layer]
        children = dict(layer.named_modules())
        unknown = [name for name in self.modules if name not in children]
        if unknown:
            direct = ", ".join(name for name, _ in layer.named_children())
            raise ModelError(
                f"method.modules names {', '.join(unknown)}, but {path} has no such part. It has: {direct}."
            )
        return [children[name] for name in self.modules]
