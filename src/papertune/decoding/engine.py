"""Running prompts through a model, with one prefill for all questions about a row.

A batch is padded at the right. With causal attention no real token sees the padding, so the prefill needs no mask and
can use the fused causal kernel. Tokens after a prompt (the rest of another question, label tokens, decoded tokens) see
the cached keys through a mask that hides the padding:

    row 0   d d d d d d . .  |  q q q  |  t t
    row 1   d d d d d d d d  |  q q q  |  t t         d: document  .: padding  q: question  t: tokens after it
    keys    1 1 1 1 1 1 0 0     1 1 1     1 1

A trained prefix comes first in the cache of every row. Tokens that all prompts begin with are treated in the same way:
they go through the model once and are then part of the prefix.

On a CPU prompts run in parts whose activations fit into its caches, if possible a part in each thread; on a GPU whole
batches are faster.
"""

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from papertune.decoding.threads import map_in_threads, threads_here
from papertune.methods import Prefix, prefix_of
from papertune.models import AttentionMasks, OwnLlama, answer_positions
from papertune.prompts import pad_right

Result = TypeVar("Result")

# Padded tokens that go through the model together on a CPU.
CPU_PART_TOKENS = 512


@dataclass
class PromptState:
    """The state of the model after some prompts.

    Attributes:
        cache: A transformers cache with the keys and values of the prefix, if any, and of the prompts.
        visible: Whether a cached key is a virtual or real token, bool, shape (batch, virtual + seq).
        lengths: Real tokens of each row, without the prefix, int64, shape (batch,).
        last_logits: Logits at each row's last token, shape (batch, vocab).
    """

    cache: Any
    visible: Tensor
    lengths: Tensor
    last_logits: Tensor

    def fork(self) -> "PromptState":
        """Return a copy that can be extended without changing this one."""
        return PromptState(deepcopy(self.cache), self.visible, self.lengths, self.last_logits)

    @property
    def is_divisible(self) -> bool:
        """Whether `part` works: every layer has just a key and a value of each token."""
        return _stores_keys_and_values(self.cache)

    def part(self, rows: Sequence[int]) -> "PromptState":
        """Return a copy of some rows without the padding that all of them have; `is_divisible` has to be true."""
        from papertune.models.attention.growing_cache import growing_cache

        chosen = torch.tensor(rows, device=self.lengths.device)
        visible = self.visible[chosen]
        seen = visible.any(dim=0).nonzero()[:, 0]
        cache = growing_cache()
        for number, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[chosen][:, :, seen], layer.values[chosen][:, :, seen], number)
        return PromptState(cache, visible[:, seen], self.lengths[chosen], self.last_logits[chosen])

    @torch.inference_mode()
    def divide(self, count: int) -> "list[PromptState]":
        """Return the parts of rows 0, count, 2 count, ..., of rows 1, count + 1, ..., and so on; the state is consumed.

        The layers are divided one after another, and each is released before the next, so that keys and values are not
        in memory twice; `is_divisible` has to be true.

        Args:
            count: Number of parts; at most the number of rows.
        """
        from papertune.models.attention.growing_cache import GrowingLayer, growing_cache

        visible = [self.visible[first::count] for first in range(count)]
        seen = [each.any(dim=0).nonzero()[:, 0] for each in visible]
        caches = [growing_cache() for _ in range(count)]
        for number in range(len(self.cache.layers)):
            layer, self.cache.layers[number] = self.cache.layers[number], GrowingLayer()
            for first, cache in enumerate(caches):
                keys, values = (each[first::count][:, :, seen[first]] for each in (layer.keys, layer.values))
                cache.update(keys, values, number)
            del layer, keys, values
        return [
            PromptState(caches[n], visible[n][:, seen[n]], self.lengths[n::count], self.last_logits[n::count])
            for n in range(count)
        ]

    def select(self, rows: Tensor) -> None:
        """Keep only some rows of the batch, in place."""
        self.cache.batch_select_indices(rows)
        self.visible = self.visible[rows]
        self.lengths = self.lengths[rows]
        self.last_logits = self.last_logits[rows]


class Engine:
    """Runs prompts through a causal language model.

    Args:
        model: The model, in evaluation mode. Later changes of its prefix, if it has one, are ignored.

    Attributes:
        model: The model, without its prefix.
        device: Device of the model.
        in_threads: Whether several threads may run the model at the same time.
    """

    def __init__(self, model: Any) -> None:
        self._prefix = prefix_of(model)
        self.model = model if self._prefix is None else model.get_base_model()
        self.device = next(self.model.parameters()).device
        self._masks = AttentionMasks(self.model)
        self._part_tokens = CPU_PART_TOKENS if self.device.type == "cpu" else None
        # transformers' models share state between calls, such as hooks.
        self.in_threads = isinstance(self.model, OwnLlama)

    @torch.inference_mode()
    def after(self, beginning: Sequence[int]) -> "Engine | None":
        """Return an engine for prompts that all begin with the same tokens; its prompts are without these tokens.

        Args:
            beginning: The tokens, at least one.

        Returns:
            The engine, or None if not all layers of the model store a key and a value of every token.
        """
        if self._masks.window:
            return None
        cache, _ = self._run([beginning], caching=True)
        if not _stores_keys_and_values(cache):
            return None
        engine = copy(self)
        engine._prefix = Prefix(
            keys=torch.stack([layer.keys[0] for layer in cache.layers]),
            values=torch.stack([layer.values[0] for layer in cache.layers]),
            first_position=len(beginning) + (self._prefix.first_position if self._prefix else 0),
        )
        return engine

    @torch.inference_mode()
    def last_logits(self, prompts: Sequence[Sequence[int]], tokens: Sequence[int] | None = None) -> Tensor:
        """Return the logits of some tokens after each prompt, without a cache.

        Args:
            prompts: Token ids.
            tokens: Which token ids; None: all.

        Returns:
            Shape (batch, tokens or vocab).
        """
        wanted = None if tokens is None else torch.tensor(tokens, device=self.device)
        return torch.cat([logits for _, logits in self._run_parts(self._parts(prompts), caching=False, tokens=wanted)])

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> PromptState:
        """Run prompts and cache their keys and values."""
        parts = self._run_parts(self._parts(prompts), caching=True)
        if len(parts) > 1 and not all(_stores_keys_and_values(cache) for cache, _ in parts):
            self._part_tokens = None  # from now on
            parts = [self._run(prompts, caching=True)]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        visible = torch.arange(int(lengths.max()), device=self.device) < lengths[:, None]
        if self._prefix is not None:
            visible = torch.cat([visible.new_ones(len(prompts), self._prefix.length), visible], dim=1)
        cache = _join([cache for cache, _ in parts])
        return PromptState(cache, visible, lengths, torch.cat([logits for _, logits in parts]))

    def _parts(self, prompts: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
        """Split prompts, in their order, into parts of at most `_part_tokens` padded tokens."""
        if self._part_tokens is None:
            return [prompts]
        parts: list[list[Sequence[int]]] = []
        widest = 0
        for prompt in prompts:
            widest = max(widest, len(prompt))
            if parts and widest * (len(parts[-1]) + 1) <= self._part_tokens:
                parts[-1].append(prompt)
            else:
                parts.append([prompt])
                widest = len(prompt)
        return list(parts)

    def _run_parts(
        self, parts: Sequence[Sequence[Sequence[int]]], *, caching: bool, tokens: Tensor | None = None
    ) -> list[tuple[Any, Tensor]]:
        """Run parts with `_run`, several at a time where the model allows it."""
        run = partial(self._run, caching=caching, tokens=tokens)
        return map_in_threads(run, parts) if self.in_threads else [run(part) for part in parts]

    @torch.inference_mode()
    def _run(
        self, prompts: Sequence[Sequence[int]], *, caching: bool, tokens: Tensor | None = None
    ) -> tuple[Any, Tensor]:
        """Run prompts together; return the cache, with them if `caching`, and the logits after each prompt."""
        rows = torch.arange(len(prompts), device=self.device)
        last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self.device)
        ids = pad_right(prompts, 0).to(self.device)
        start = self._start(ids, caching=caching)
        with answer_positions(self.model, rows, last, tokens):
            output = self.model(input_ids=ids, use_cache=caching, **start)
        return start.get("past_key_values"), output.logits

    @torch.inference_mode()
    def extend(self, state: PromptState, suffixes: Sequence[Sequence[int]]) -> None:
        """Run more tokens after the prompt of each row, in place; every suffix has at least one token."""
        added = torch.tensor([len(suffix) for suffix in suffixes], device=self.device)
        ids = pad_right(suffixes, 0).to(self.device)
        offsets = torch.arange(ids.shape[1], device=self.device)
        real = offsets < added[:, None]  # (batch, new)
        # Padding sees itself: a token that sees nothing would have NaN values.
        itself = offsets[None, :] == offsets[:, None]
        earlier = (offsets[None, :] <= offsets[:, None])[None] & (real[:, None, :] | itself)  # (batch, new, new)
        rows = torch.arange(len(suffixes), device=self.device)
        with answer_positions(self.model, rows, added - 1):
            output = self._continue(state, ids, earlier, state.lengths[:, None] + offsets)
        state.cache = output.past_key_values
        state.visible = torch.cat([state.visible, real], dim=1)
        state.lengths = state.lengths + added
        state.last_logits = output.logits

    @torch.inference_mode()
    def tree_logits(
        self,
        state: PromptState,
        tokens: Sequence[int],
        sees: Tensor,
        depths: Sequence[int],
        nodes: Sequence[int] | None = None,
    ) -> Tensor:
        """Run the same tree of tokens after each prompt.

        Args:
            state: The prompts; not changed.
            tokens: Token id of each node.
            sees: Which nodes each node sees, bool, shape (nodes, nodes).
            depths: Distance of each node from the prompt's last token, at least 1.
            nodes: Nodes whose logits are returned; None: all.

        Returns:
            Logits at these nodes, shape (batch, nodes, vocab).
        """
        batch = len(state.lengths)
        ids = torch.tensor(tokens, device=self.device).expand(batch, -1)
        wanted = torch.arange(len(tokens), device=self.device) if nodes is None else torch.tensor(nodes).to(self.device)
        rows = torch.arange(batch, device=self.device).repeat_interleave(len(wanted))
        with answer_positions(self.model, rows, wanted.repeat(batch)):
            at = torch.tensor(depths, device=self.device)
            logits = self.grow_tree(state, ids, sees.to(self.device).expand(batch, -1, -1), at)
        state.cache.crop(-len(tokens))
        return logits.view(batch, len(wanted), -1)

    @torch.inference_mode()
    def grow_tree(self, state: PromptState, ids: Tensor, sees: Tensor, depths: Tensor) -> Tensor:
        """Run new nodes of a tree after each prompt and append them to the cache.

        Each row may have another tree. Smaller trees are padded with nodes that no other node sees.

        Args:
            state: The prompts; only its cache changes.
            ids: Token id of each new node, int64, shape (batch, new).
            sees: Which nodes each new node sees, bool, shape (batch, new, nodes); the new ones are last.
            depths: Distance of each node from the prompt's last token, at least 1; the new ones are last; int64, shape
                (batch, nodes), or (nodes,) if all rows have the same.

        Returns:
            Logits at the new nodes, shape (batch, new, vocab).
        """
        before = state.lengths[:, None] + depths - 1
        return self._continue(state, ids, sees, before).logits  # type: ignore[no-any-return]

    def map_rows(
        self, work: Callable[[PromptState, Sequence[int]], Sequence[Result]], state: PromptState
    ) -> list[Result]:
        """Work on the rows of a batch, on several parts of it at a time where the model runs in several threads.

        Args:
            work: Gets the state of some rows, which it may consume, and their numbers; returns something for each row.
            state: The prompts; consumed.

        Returns:
            The results, in the order of the rows.
        """
        count = len(state.lengths)
        workers = min(threads_here(), count) if self.in_threads and state.is_divisible else 1
        if workers < 2:
            return list(work(state, range(count)))

        parts = state.divide(workers)  # neighbours are of similar length

        @torch.inference_mode()
        def share(first: int) -> Sequence[Result]:
            return work(parts[first], range(first, count, workers))

        shares = map_in_threads(share, range(workers))
        return [shares[row % workers][row // workers] for row in range(count)]

    def _empty_cache(self) -> Any:
        from papertune.models.attention.growing_cache import growing_cache

        # A cache that drops keys outside the window does not fit rows of different lengths; masks hide them instead.
        return growing_cache() if self._masks.window else growing_cache(self.model.config)

    def _start(self, ids: Tensor, *, caching: bool) -> dict[str, Any]:
        """Return the arguments of the first pass besides the tokens: the prefix or a cache."""
        if self._prefix is None:
            return {"past_key_values": self._empty_cache()} if caching else {}
        batch, seq = ids.shape
        positions = torch.arange(seq, device=self.device).expand(batch, -1) + self._prefix.first_position
        return {"past_key_values": self._prefix.cache(batch, grows=caching), "position_ids": positions}

    def _continue(self, state: PromptState, ids: Tensor, sees: Tensor, offsets: Tensor) -> Any:
        """Run tokens after a cache.

        Args:
            state: The prompts; its cache may also have earlier nodes of a tree.
            ids: The new tokens, shape (batch, new).
            sees: Which nodes each new token sees, bool, shape (batch, new, nodes); the new tokens are the last nodes.
            offsets: Number of real tokens before each node, without the prefix, int64, shape (batch, nodes).
        """
        new = ids.shape[1]
        visible = torch.cat([state.visible[:, None, :].expand(-1, new, -1), sees], dim=2)  # (batch, new, keys)
        places = offsets + (0 if self._prefix is None else self._prefix.length)
        # The place of each key in its row; padding has none, so the keys of the prompt are counted.
        keys = torch.cat([state.visible.cumsum(dim=1) - 1, places], dim=1)
        return self.model(
            input_ids=ids,
            attention_mask=self._masks.make(visible, places[:, -new:], keys),
            position_ids=offsets[:, -new:] + (0 if self._prefix is None else self._prefix.first_position),
            past_key_values=state.cache,
            use_cache=True,
        )


def _stores_keys_and_values(cache: Any) -> bool:
    """Whether every layer of a cache has just a key and a value of each token, all of one shape."""
    from papertune.models.attention.growing_cache import GrowingLayer

    if not all(type(layer) is GrowingLayer and layer.is_initialized for layer in cache.layers):
        return False
    return len({(layer.keys.shape, layer.values.shape) for layer in cache.layers}) == 1


def _join(caches: Sequence[Any]) -> Any:
    """Put the rows of several caches into the first one, padded at the right."""
    joined, *others = caches
    width = max(cache.get_seq_length() for cache in caches)
    for index, layer in enumerate(joined.layers if others else ()):
        parts = [cache.layers[index] for cache in caches]
        layer.keys, layer.values = (
            torch.cat([F.pad(part, (0, 0, 0, width - part.shape[2])) for part in tensors])
            for tensors in ([part.keys for part in parts], [part.values for part in parts])
        )
        for cache in others:  # or all keys and values would be in memory twice
            cache.layers[index] = None
    return joined
