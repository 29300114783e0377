"""A product with frozen weights of several linear layers at once, and with their LoRA adapters.

    y  = x W^T + l U^T          W: weights of layers that read the same input, one below the other
    l  = x D^T                  D: the matrices A of all adapters, one below the other
                                U: s B of each adapter, on the diagonal of blocks
    dx = dy W + dl D            dl = dy U
    dD = dl^T x                 dU = dy^T l, of which the blocks are needed

So the weights of q, k and v are one product, and the adapters add one narrow product in place instead of three results
of full size (Hu et al. 2021, arXiv:2106.09685, section 4.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter within a product.

    Attributes:
        a: Shape (rank, inputs), float32.
        b: Shape (outputs of its layer, rank), float32.
        scale: Factor of B A.
        outputs: Its outputs among those of the product.
        ranks: Its place among the ranks of the product.
    """

    a: nn.Parameter
    b: nn.Parameter
    scale: float
    outputs: slice
    ranks: slice


class Product:
    """The product of an input with the weights of some layers.

    Args:
        layers: Linear layers of one input, or peft's layers around them, in the order of their outputs.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._bases = [getattr(layer, "base_layer", layer) for layer in layers]
        weights = [base.weight.data for base in self._bases]
        self._weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        start = 0
        for base, weight in zip(self._bases, weights, strict=True):
            # A view, so that the weights are in memory once.
            base.weight.data = self._weight[start : start + len(weight)]
            start += len(weight)
        biases = [base.bias for base in self._bases]
        self._bias = None
        if any(bias is not None for bias in biases):
            self._bias = torch.cat(
                [
                    weight.new_zeros(len(weight)) if bias is None else bias.data
                    for bias, weight in zip(biases, weights, strict=True)
                ]
            )
        self.adapters: list[Adapter] = []
        outputs = ranks = 0
        for layer, weight in zip(layers, weights, strict=True):
            if hasattr(layer, "lora_A"):
                (name,) = layer.active_adapters
                a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
                own = slice(outputs, outputs + len(weight)), slice(ranks, ranks + len(a))
                self.adapters.append(Adapter(a, b, layer.scaling[name], *own))
                ranks += len(a)
            outputs += len(weight)
        self._down = self._weight.new_zeros(ranks, self._weight.shape[1])
        self._up = self._weight.new_zeros(outputs, ranks)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is learned: A and B of each adapter."""
        return [parameter for adapter in self.adapters for parameter in (adapter.a, adapter.b)]

    def restore(self) -> None:
        """Restore the weight of each layer as one of its own."""
        for base in self._bases if len(self._bases) > 1 else ():
            base.weight.data = base.weight.data.clone()
        self._weight = self._weight.new_empty(0)  # or all weights would be in memory twice in the end

    @torch.no_grad()
    def read_adapters(self) -> None:
        """Take the adapters as they are now."""
        for each in self.adapters:
            self._down[each.ranks] = each.a
            self._up[each.outputs, each.ranks] = each.b * each.scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Multiply.

        Args:
            x: Shape (tokens, inputs).

        Returns:
            The outputs, shape (tokens, outputs), and what `backward` needs of the adapters.
        """
        y = F.linear(x, self._weight, self._bias)
        if not self.adapters:
            return y, None
        low = x @ self._down.T
        return y.addmm_(low, self._up.T), low

    def backward(
        self, dy: Tensor, x: Tensor, low: Tensor | None, gradients: "Gradients", *, to_input: bool
    ) -> Tensor | None:
        """Compute the gradients of D, and of U without s, in the dtype of the products.

        Args:
            dy: Gradient of the outputs, shape (tokens, outputs).
            x: The input.
            low: From `forward`.
            gradients: Gets them.
            to_input: Whether the gradient of the input is needed.

        Returns:
            The gradient of the input, shape (tokens, inputs), or None.
        """
        dx = dy @ self._weight if to_input else None
        if low is None:
            return dx
        dlow = dy @ self._up
        gradients[self] = dlow.T @ x, dy.T @ low
        return None if dx is None else dx.addmm_(dlow, self._down)

    def add_gradients(self, gradients: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Add gradients of several passes, summed up in float32 in their order, to those of the adapters."""
        ddown, dup = (torch.zeros(each.shape) for each in gradients[0])
        for more_down, more_up in gradients:
            ddown += more_down
            dup += more_up
        for adapter in self.adapters:
            own = ddown[adapter.ranks], dup[adapter.outputs, adapter.ranks] * adapter.scale
            for parameter, gradient in zip((adapter.a, adapter.b), own, strict=True):
                # A tensor of its own: fused optimizers read a gradient's memory from end to end.
                whole = gradient.clone(memory_format=torch.contiguous_format)
                parameter.grad = whole if parameter.grad is None else parameter.grad.add_(whole)


# Of each product with adapters, from one pass.
Gradients = dict[Product, tuple[Tensor, Tensor]]
