"""The memory that a training needs, computed from the model's configuration without weights and without a GPU.

The model is built on torch's meta device, where tensors have a shape but no data. One training step runs on it: the
model's own forward and backward pass, with all that it keeps, casts and recomputes. The peak is the largest size of all
tensors that are alive at the same time. So there is no formula for activations that could be wrong for a model.

These parts are replaced:

    attention      by a fused kernel that keeps queries, keys, values, output and one number for each query
    autocast       by linear layers that cast, since the meta device has no autocast
    few bits       weights are unpacked in each pass; with 8 bits bitsandbytes also keeps the input of each layer
    optimizer      AdamW has two float32 numbers for each trainable parameter
"""

import copy
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from papertune.errors import ModelError
from papertune.methods import (
    Method,
    PrefixModel,
    adapters_in_compute_dtype,
    build_trainable,
    checkpoint_activations,
)
from papertune.methods.merged_products import merged_products
from papertune.models import AttentionMasks, answer_positions
from papertune.training.answers.batch import tree_inputs

_ATTENTION = "papertune_tally"
# A 4-bit weight and its share of the scales: 8 bits for 64 weights, and 32 bits for 256 of these scales.
_BYTES_IN_4_BITS = 1 / 2 + 1 / 64 + 4 / 64 / 256


@dataclass(frozen=True)
class BatchShape:
    """The size of a batch.

    Attributes:
        rows: Rows of the batch.
        seq: Tokens of a row: document, questions and answers.
        answer_tokens: Tokens of a row at which logits are needed.
        is_tree: Whether some tokens must not see all earlier ones, which needs a mask.
    """

    rows: int
    seq: int
    answer_tokens: int
    is_tree: bool = False


@dataclass(frozen=True)
class TrainingMemory:
    """The peak of a training step, in bytes.

    Attributes:
        parameters: Number of parameters of the base model.
        trainable: Number of trainable parameters.
        weights: All parameters and buffers.
        gradients: Gradients of the trainable parameters, float32.
        optimizer: AdamW's state.
        activations: The rest of the peak. Gradients appear while activations are freed, so this is less than the size
            of all activations unless the peak is at the end of the backward pass.
    """

    parameters: int
    trainable: int
    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """The whole peak."""
        return self.weights + self.gradients + self.optimizer + self.activations


def training_memory(
    config: Any,
    method: Method,
    shapes: Sequence[BatchShape],
    *,
    dtype: torch.dtype,
    gradient_checkpointing: bool = False,
    accumulation: int = 1,
) -> list[TrainingMemory]:
    """Compute the peak of a training step.

    Args:
        config: The model's transformers configuration.
        method: Decides which parameters are trained.
        shapes: The batches; there is one peak for each.
        dtype: Number format of products.
        gradient_checkpointing: Recompute activations instead of keeping them.
        accumulation: Batches in one optimizer step; with more than one, gradients exist from the start.

    Returns:
        The peak of each batch.

    Raises:
        ModelError: If the model cannot be built, or its forward pass depends on data.
    """
    base = _build(config, method.base_dtype(dtype))
    parameters = sum(p.numel() for p in base.parameters())
    bits = method.base_model_bits
    packed = [] if bits is None else _linear_layers(base)
    peaks: list[int] = []
    try:
        with torch.device("meta"):
            model = build_trainable(base, method, seed=0)
        if gradient_checkpointing:
            checkpoint_activations(model)
        trainable = [p for p in model.parameters() if p.requires_grad]
        weights = _weight_bytes(model) - sum(_saved_bytes(layer, bits) for layer in packed)
        for shape in shapes:
            for parameter in trainable:
                parameter.grad = torch.empty_like(parameter) if accumulation > 1 else None
            peaks.append(_peak_of_passes(model, shape, dtype, {id(layer): bits for layer in packed}))
    except RuntimeError as error:  # a model reads the data of a meta tensor
        if "meta" not in str(error).lower():
            raise
        raise _cannot_compute(config, error) from error
    gradients = sum(p.numel() * 4 for p in trainable)
    return [
        TrainingMemory(
            parameters=parameters,
            trainable=sum(p.numel() for p in trainable),
            weights=weights,
            gradients=gradients,
            optimizer=2 * gradients,
            # All gradients are alive at the end of the backward pass, so the peak is at least their size.
            activations=peak - (0 if accumulation > 1 else gradients),
        )
        for peak in peaks
    ]


def _cannot_compute(config: Any, error: Exception) -> ModelError:
    first = str(error).splitlines()[0]
    return ModelError(
        f"{type(config).__name__}: the memory of this model cannot be computed without its weights ({first}). "
        "Measure it: train a few steps with --set training.max_steps=3."
    )


def _build(config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype)
    except ValueError as error:  # transformers does not know this kind of model
        raise _cannot_compute(config, error) from error
    for part in (model.config, model.config.get_text_config()):
        if part._attn_implementation == "sdpa":
            part._attn_implementation = _ATTENTION
    return model


def _linear_layers(model: Any) -> list[nn.Linear]:
    """Return the layers that are stored in few bits: all except the output layer."""
    output = model.get_output_embeddings()
    return [module for module in model.modules() if type(module) is nn.Linear and module is not output]


def _weight_bytes(model: Any) -> int:
    return sum({id(p): p.numel() * p.element_size() for p in [*model.parameters(), *model.buffers()]}.values())


def _saved_bytes(layer: nn.Linear, bits: int | None) -> int:
    few = layer.weight.numel() * _BYTES_IN_4_BITS if bits == 4 else layer.weight.numel() + 4 * layer.out_features
    return layer.weight.numel() * layer.weight.element_size() - round(few)


def _peak_of_passes(model: Any, shape: BatchShape, dtype: torch.dtype, bits: dict[int, int | None]) -> int:
    """Run forward and backward pass and return the bytes at the peak, without those of existing tensors."""
    rows = torch.arange(shape.rows, device="meta").repeat_interleave(shape.answer_tokens)
    columns = torch.arange(shape.seq - shape.answer_tokens, shape.seq, device="meta").repeat(shape.rows)
    masks, virtual = AttentionMasks(model), model.prefix_length if isinstance(model, PrefixModel) else 0
    model.train()
    with (
        _replaced_linear_layers(model, dtype, bits) as casts,
        adapters_in_compute_dtype(model, dtype),
        nullcontext() if bits else merged_products(model, dtype),
        _Tally() as tally,
    ):
        for tensor in [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]:
            if tensor is not None:
                tally.ignore(tensor)
        ids = torch.zeros(shape.rows, shape.seq, dtype=torch.long, device="meta")
        batch = {"position_ids": ids, "visible": ids.new_ones(*ids.shape, shape.seq, dtype=torch.bool)}
        # Unfused attention always has a mask, but transformers would read data to build it.
        needs_mask = shape.is_tree or model.config._attn_implementation != _ATTENTION
        tree = tree_inputs(masks, batch if needs_mask else {}, virtual)
        del batch
        with answer_positions(model, rows, columns):
            logits = model(input_ids=ids, use_cache=False, **tree).logits  # (positions, vocab)
        casts.forget()
        # The loss selects the positions of each label set, in float32.
        scores = logits.float()[torch.arange(len(rows), device="meta")]
        del logits
        losses = F.cross_entropy(scores, torch.zeros_like(rows), reduction="none")
        del scores
        torch.autograd.backward((losses * torch.ones_like(losses)).sum())
    return int(tally.peak)


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that are alive while it is active.

    Attributes:
        peak: The maximum so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._bytes: dict[int, int] = {}

    def ignore(self, tensor: Tensor) -> None:
        """Do not count a tensor."""
        self._watch(tensor, size=0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result: Any = _elementwise(*args[:2]) if func in _ELEMENTWISE else func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf)
        return result

    def _watch(self, tensor: Tensor, size: int | None = None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._bytes:
            return
        self._bytes[key] = storage.nbytes() if size is None else size
        self._now += self._bytes[key]
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._bytes.pop(key)


_ELEMENTWISE = {torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor}


def _elementwise(one: Any, other: Any) -> Tensor:
    """Return a tensor with the shape and dtype of a sum or product, much faster than torch computes them."""
    shapes = [part.shape for part in (one, other) if isinstance(part, Tensor)]
    shape = shapes[0] if shapes[0] == shapes[-1] else torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    return torch.empty(shape, dtype=torch.result_type(one, other), device="meta")


class _Casts(dict[int, Tensor]):
    """Cast parameters by id, which autocast keeps until the end of the forward pass."""

    keeps = True

    def forget(self) -> None:
        """Drop all and keep no more: a recomputed layer casts again."""
        self.clear()
        self.keeps = False


@contextmanager
def _replaced_linear_layers(model: Any, dtype: torch.dtype, bits: dict[int, int | None]) -> Iterator["_Casts"]:
    """Make linear layers cast and unpack as on a real device, while the context is open.

    Args:
        model: A model on the meta device.
        dtype: Number format of products.
        bits: Bits of the layers that are stored in few bits, by id.

    Yields:
        The cast parameters.
    """
    casts = _Casts()
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    for layer in layers:
        if few := bits.get(id(layer)):
            layer.__dict__["forward"] = partial(_few_bits_linear, layer, few, dtype)
        else:
            layer.__dict__["forward"] = partial(_cast_linear, layer, casts, dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield casts
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def _cast_linear(layer: nn.Linear, casts: "_Casts", dtype: torch.dtype, states: Tensor) -> Tensor:
    def cast(parameter: Tensor) -> Tensor:
        if parameter.dtype == dtype:
            return parameter
        if id(parameter) in casts:
            return casts[id(parameter)]
        result = parameter.to(dtype)
        if parameter.requires_grad and casts.keeps:
            casts[id(parameter)] = result
        return result

    return F.linear(states.to(dtype), cast(layer.weight), None if layer.bias is None else cast(layer.bias))


def _few_bits_linear(layer: nn.Linear, bits: int, dtype: torch.dtype, states: Tensor) -> Tensor:
    result: Tensor = _FewBits.apply(states.to(dtype), layer.out_features, bits == 8)  # type: ignore[no-untyped-call]
    return result if layer.bias is None else result + layer.bias


class _FewBits(torch.autograd.Function):
    """A product with a weight that is unpacked in both passes."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, out_features: int, keeps_input: bool) -> Tensor:
        """Return a tensor with the shape of the product."""
        ctx.out_features, ctx.in_features = out_features, states.shape[-1]
        if keeps_input:
            ctx.save_for_backward(states)
        return F.linear(states, states.new_empty(out_features, ctx.in_features))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return a tensor with the shape of the states."""
        (gradient,) = gradients
        return gradient @ gradient.new_empty(ctx.out_features, ctx.in_features), None, None


class _Fused(torch.autograd.Function):
    """Attention that never holds all scores, like fused kernels (Dao et al. 2022, arXiv:2205.14135)."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, masked: bool) -> Tensor:
        """Return a tensor with the shape of the output."""
        output = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        batch, _, seq, _ = queries.shape
        kept = [output, queries.new_empty(queries.shape[:-1], dtype=torch.float32)]
        if masked:
            kept.append(queries.new_empty(batch, 1, seq, keys.shape[2]))  # what is added to the scores
        ctx.save_for_backward(queries, keys, values, *kept)
        return output

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return tensors with the shapes of the inputs."""
        return (*(torch.empty_like(part) for part in ctx.saved_tensors[:3]), None)


def _fused_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any = None, **_: Any
) -> tuple[Tensor, None]:
    """Compute attention, with the signature of transformers' attention functions."""
    masked = attention_mask is not None or key.shape[2] != query.shape[2]  # a prefix needs a mask too
    if masked:  # then shared keys and values are repeated for each head
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    seen: Tensor = _Fused.apply(query, key, value, masked)  # type: ignore[no-untyped-call]
    return seen.transpose(1, 2).contiguous(), None


def _register() -> None:
    from transformers import AttentionInterface

    # For a name without a mask function, transformers builds no mask, which would read data.
    AttentionInterface.register(_ATTENTION, _fused_attention)


_register()
