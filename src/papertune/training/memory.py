"""How much memory a training takes, computed from the model's configuration: no weights, no GPU.

The model is built on torch's meta device, where tensors have a shape and no numbers, and one training step is run on
it: the model's own forward and backward pass, with everything that it keeps, casts and computes again. A tally of all
tensors that are alive gives the peak. So there is no formula for activations that could be wrong for a model.

What is not run as it is:

    attention      the fused kernel: it keeps queries, keys, values, output and one number for each query
    autocast       on the meta device there is none; linear layers cast as it would
    few bits       weights are unpacked in each pass; in 8 bits bitsandbytes also keeps the input of each layer
    optimizer      AdamW: two float32 numbers for each trained weight
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
from papertune.training.batch import tree_inputs

_ATTENTION = "papertune_tally"
# Of a 4-bit weight: itself, and its share of the scales: 8 bits for 64 weights, 32 bits for 256 of these.
_BYTES_IN_4_BITS = 1 / 2 + 1 / 64 + 4 / 64 / 256


@dataclass(frozen=True)
class BatchShape:
    """What goes through the model in one pass.

    Attributes:
        rows: Rows of the batch.
        seq: Tokens of each: document, questions and answers.
        answer_tokens: At how many of them logits are wanted.
        is_tree: Whether some of the tokens must not see all earlier ones, which takes a mask.
    """

    rows: int
    seq: int
    answer_tokens: int
    is_tree: bool = False


@dataclass(frozen=True)
class TrainingMemory:
    """The peak of a training step, in bytes.

    Attributes:
        parameters: How many numbers the base model has.
        trained: How many numbers are learnt.
        weights: All weights, those that are learnt included.
        gradients: Those of the weights that are learnt, float32.
        optimizer: AdamW's state.
        activations: All else that is alive at the peak. Gradients come as activations go, so this is less than the
            activations are by themselves, where the peak is not at the end of the backward pass.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All together."""
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
        config: The model's configuration, a transformers one.
        method: Which weights are learnt.
        shapes: Batches, each for itself.
        dtype: What products are done in.
        gradient_checkpointing: Compute activations a second time instead of keeping them.
        accumulation: Batches in one optimizer step; with more than one, gradients are there from the start.

    Returns:
        The peak for each of the batches.

    Raises:
        ModelError: If the model cannot be built, or its forward pass depends on numbers.
    """
    try:
        base = _build(config, method.base_dtype(dtype))
    except ValueError as error:  # so transformers says that it does not know the kind of model
        raise _cannot_compute(config, error) from error
    parameters = sum(p.numel() for p in base.parameters())
    bits = method.base_model_bits
    packed = [] if bits is None else _linear_layers(base)
    peaks: list[int] = []
    try:
        with torch.device("meta"):
            model = build_trainable(base, method, seed=0)
        if gradient_checkpointing:
            checkpoint_activations(model)
        learnt = [p for p in model.parameters() if p.requires_grad]
        weights = _weight_bytes(model) - sum(_saved_bytes(layer, bits) for layer in packed)
        for shape in shapes:
            for parameter in learnt:
                parameter.grad = torch.empty_like(parameter) if accumulation > 1 else None
            peaks.append(_peak_of_passes(model, shape, dtype, {id(layer): bits for layer in packed}))
    except RuntimeError as error:  # torch's, where a model asks a tensor without numbers for them
        if "meta" not in str(error).lower():
            raise
        raise _cannot_compute(config, error) from error
    gradients = sum(p.numel() * 4 for p in learnt)
    return [
        TrainingMemory(
            parameters=parameters,
            trained=sum(p.numel() for p in learnt),
            weights=weights,
            gradients=gradients,
            optimizer=2 * gradients,
            # All gradients are alive at the end of the backward pass, so the peak has at least these.
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

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype)
    for part in (model.config, model.config.get_text_config()):
        if part._attn_implementation == "sdpa":
            part._attn_implementation = _ATTENTION
    return model


def _linear_layers(model: Any) -> list[nn.Linear]:
    """Give the layers that are stored in few bits: all but the output layer."""
    output = model.get_output_embeddings()
    return [module for module in model.modules() if type(module) is nn.Linear and module is not output]


def _weight_bytes(model: Any) -> int:
    return sum({id(p): p.numel() * p.element_size() for p in [*model.parameters(), *model.buffers()]}.values())


def _saved_bytes(layer: nn.Linear, bits: int | None) -> int:
    few = layer.weight.numel() * _BYTES_IN_4_BITS if bits == 4 else layer.weight.numel() + 4 * layer.out_features
    return layer.weight.numel() * layer.weight.element_size() - round(few)


def _peak_of_passes(model: Any, shape: BatchShape, dtype: torch.dtype, bits: dict[int, int | None]) -> int:
    """Run forward and backward pass; give the bytes at the peak beyond those that were there before."""
    rows = torch.arange(shape.rows, device="meta").repeat_interleave(shape.answer_tokens)
    columns = torch.arange(shape.seq - shape.answer_tokens, shape.seq, device="meta").repeat(shape.rows)
    masks, virtual = AttentionMasks(model), model.prefix_length if isinstance(model, PrefixModel) else 0
    model.train()
    with (
        _stand_ins(model, dtype, bits) as casts,
        adapters_in_compute_dtype(model, dtype),
        nullcontext() if bits else merged_products(model, dtype),
        _Tally() as tally,
    ):
        for tensor in [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]:
            if tensor is not None:
                tally.ignore(tensor)
        ids = torch.zeros(shape.rows, shape.seq, dtype=torch.long, device="meta")
        batch = {"places": ids, "visible": ids.new_ones(*ids.shape, shape.seq, dtype=torch.bool)}
        # Attention step by step always has a mask, but transformers would look at numbers to make it.
        needs_mask = shape.is_tree or model.config._attn_implementation != _ATTENTION
        tree = tree_inputs(masks, batch if needs_mask else {}, virtual)
        del batch
        with answer_positions(model, rows, columns):
            logits = model(input_ids=ids, use_cache=False, **tree).logits  # (positions, vocab)
        casts.forget()
        # The loss picks the positions of each label set, in float32.
        scores = logits.float()[torch.arange(len(rows), device="meta")]
        del logits
        losses = F.cross_entropy(scores, torch.zeros_like(rows), reduction="none")
        del scores
        torch.autograd.backward((losses * torch.ones_like(losses)).sum())
    return int(tally.peak)


class _Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that are alive while it is on.

    Attributes:
        peak: The most there ever were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._bytes: dict[int, int] = {}

    def ignore(self, tensor: Tensor) -> None:
        """Do not count this one."""
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
    """Give a tensor of the shape and dtype of a sum or product; torch takes most of the time to find these out."""
    shapes = [part.shape for part in (one, other) if isinstance(part, Tensor)]
    shape = shapes[0] if shapes[0] == shapes[-1] else torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    return torch.empty(shape, dtype=torch.result_type(one, other), device="meta")


class _Casts(dict[int, Tensor]):
    """Weights in another dtype, by id, that autocast keeps until the end of the forward pass."""

    keeps = True

    def forget(self) -> None:
        """Drop them, and keep no more: a layer that is computed again casts for itself."""
        self.clear()
        self.keeps = False


@contextmanager
def _stand_ins(model: Any, dtype: torch.dtype, bits: dict[int, int | None]) -> Iterator["_Casts"]:
    """Let linear layers cast and unpack as they would elsewhere, while this is open.

    Args:
        model: On the meta device.
        dtype: What products are done in.
        bits: By id of the layer, those that are stored in few bits.

    Yields:
        Casts of weights.
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
    """A product with a weight that is unpacked for it, in both passes."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, out_features: int, keeps_input: bool) -> Tensor:
        """Give a tensor of the product's shape."""
        ctx.out_features, ctx.in_features = out_features, states.shape[-1]
        if keeps_input:
            ctx.save_for_backward(states)
        return F.linear(states, states.new_empty(out_features, ctx.in_features))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Give a tensor of the states' shape."""
        (gradient,) = gradients
        return gradient @ gradient.new_empty(ctx.out_features, ctx.in_features), None, None


class _Fused(torch.autograd.Function):
    """Attention that never has all scores at once, as fused kernels do it (Dao et al. 2022, arXiv:2205.14135)."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, masked: bool) -> Tensor:
        """Give a tensor of the output's shape."""
        output = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        batch, _, seq, _ = queries.shape
        kept = [output, queries.new_empty(queries.shape[:-1], dtype=torch.float32)]
        if masked:
            kept.append(queries.new_empty(batch, 1, seq, keys.shape[2]))  # what is added to the scores
        ctx.save_for_backward(queries, keys, values, *kept)
        return output

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Give tensors of the inputs' shapes."""
        return (*(torch.empty_like(part) for part in ctx.saved_tensors[:3]), None)


def _fused_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any = None, **_: Any
) -> tuple[Tensor, None]:
    """Attend, in the form of transformers' attention functions."""
    masked = attention_mask is not None or key.shape[2] != query.shape[2]  # behind a prefix there is one as well
    if masked:  # then the shared keys and values are written out for each head
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    seen: Tensor = _Fused.apply(query, key, value, masked)  # type: ignore[no-untyped-call]
    return seen.transpose(1, 2).contiguous(), None


def _register() -> None:
    from transformers import AttentionInterface

    # Under a name for which no mask function is registered, transformers makes no mask: it would look at numbers.
    AttentionInterface.register(_ATTENTION, _fused_attention)


_register()
