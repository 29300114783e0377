"""The original's methods to ask ChatGLM2: `chat` and `stream_chat`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from papertune.models.chatglm2.tokenization import ChatGLMTokenizer, process_response

History = list[tuple[str, str]]

# What the bytes of an incomplete character are decoded to.
_INCOMPLETE_CHARACTER = "\ufffd"


@dataclass
class ConversationCache:
    """The tokens of a conversation that the model has already read, for the next question.

    Attributes:
        ids: The tokens in the cache.
        cache: Their keys and values.
    """

    ids: list[int]
    cache: Any

    def crop(self, prompt: list[int]) -> None:
        """Remove tokens that differ from a prompt, and the prompt's last token, whose logits are always needed."""
        shared = takewhile(lambda pair: pair[0] == pair[1], zip(self.ids, prompt[:-1], strict=False))
        if surplus := self.cache.get_seq_length() - len(list(shared)):
            self.cache.crop(-surplus)


class ChatMixin:
    """Methods to ask a ChatGLM2 model."""

    config: Any
    device: Any
    generate: Any

    @torch.inference_mode()
    def chat(
        self,
        tokenizer: ChatGLMTokenizer,
        query: str,
        history: Sequence[tuple[str, str]] | None = None,
        max_length: int = 8192,
        num_beams: int = 1,
        do_sample: bool = True,
        top_p: float = 0.8,
        temperature: float = 0.8,
        logits_processor: Any = None,
        **options: Any,
    ) -> tuple[str, History]:
        """Ask a question.

        Args:
            tokenizer: The model's tokenizer.
            query: The question.
            history: Earlier questions with their answers; not modified.
            max_length: Maximum number of tokens of the conversation, including the answer.
            num_beams: Number of beams; 1 means no beam search.
            do_sample: Sample the tokens instead of choosing the most probable ones.
            top_p: Sample from the most probable tokens that have this probability together.
            temperature: Divisor of the logits; with a small one the answer is nearly always the most probable one.
            logits_processor: Changes the logits before sampling.
            options: More arguments of `generate`.

        Returns:
            The answer, and the history with this question and its answer.
        """
        inputs = _inputs(self, tokenizer, query, history)
        output = self.generate(
            **inputs,
            num_beams=num_beams,
            logits_processor=logits_processor,
            **_sampling(self, tokenizer, max_length, do_sample, top_p, temperature, options),
        )
        answer = process_response(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))
        return answer, [*_turns(history), (query, answer)]

    def stream_chat(
        self,
        tokenizer: ChatGLMTokenizer,
        query: str,
        history: Sequence[tuple[str, str]] | None = None,
        past_key_values: ConversationCache | None = None,
        max_length: int = 8192,
        do_sample: bool = True,
        top_p: float = 0.8,
        temperature: float = 0.8,
        logits_processor: Any = None,
        return_past_key_values: bool = False,
        **options: Any,
    ) -> Iterator[Any]:
        """Ask a question, and yield the answer so far after each token.

        A character of several tokens is yielded when it is complete.

        Args:
            tokenizer: The model's tokenizer.
            query: The question.
            history: Earlier questions with their answers; not modified.
            past_key_values: The cache that the call for the previous question returned, so that its tokens are not
                read again. It is modified.
            max_length: Maximum number of tokens of the conversation, including the answer.
            do_sample: Sample the tokens instead of choosing the most probable ones.
            top_p: Sample from the most probable tokens that have this probability together.
            temperature: Divisor of the logits.
            logits_processor: Changes the logits before sampling.
            return_past_key_values: Yield the cache as a third item.
            options: More arguments of `generate`.

        Yields:
            The answer so far, and the history with this question and that answer.
        """
        inputs = _inputs(self, tokenizer, query, history)
        prompt: list[int] = inputs["input_ids"][0].tolist()
        conversation = past_key_values or ConversationCache([], DynamicCache(config=self.config))
        conversation.crop(prompt)
        tokens = self.generate(
            **inputs,
            past_key_values=conversation.cache,
            logits_processor=logits_processor,
            custom_generate=_sampled_tokens,
            **_sampling(self, tokenizer, max_length, do_sample, top_p, temperature, options),
        )
        ids: list[int] = []
        for text in _growing_texts(tokenizer, tokens, ids):
            conversation.ids = [*prompt, *ids][: conversation.cache.get_seq_length()]
            extended = [*_turns(history), (query, text)]
            yield (text, extended, conversation) if return_past_key_values else (text, extended)


def _growing_texts(tokenizer: ChatGLMTokenizer, tokens: Iterator[int], ids: list[int]) -> Iterator[str]:
    """Yield the answer so far whenever it has grown by whole characters; `ids` collects the tokens."""
    answer: str | None = None
    for token in tokens:
        ids.append(token)
        text = tokenizer.decode(ids)
        if text.endswith(_INCOMPLETE_CHARACTER) or (text := process_response(text)) in ("", answer):
            continue
        answer = text
        yield text
    if (text := process_response(tokenizer.decode(ids))) != answer:
        yield text


def _turns(history: Sequence[tuple[str, str]] | None) -> History:
    return [(query, answer) for query, answer in history or ()]


def _inputs(
    model: ChatMixin, tokenizer: ChatGLMTokenizer, query: str, history: Sequence[tuple[str, str]] | None
) -> dict[str, Tensor]:
    """Encode the conversation; each tensor has the shape (1, seq)."""
    prompt = tokenizer.build_prompt(query, _turns(history))
    return dict(tokenizer(prompt, return_tensors="pt").to(model.device))


def _sampling(
    model: ChatMixin,
    tokenizer: ChatGLMTokenizer,
    max_length: int,
    do_sample: bool,
    top_p: float,
    temperature: float,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Return arguments of `generate`, without those that it would warn about."""
    arguments: dict[str, Any] = {"do_sample": do_sample}
    if "max_new_tokens" not in options:
        arguments["max_length"] = max_length
    if do_sample:
        arguments |= {"top_p": top_p, "temperature": temperature}
    # Rows of the output layer without a token cannot be decoded.
    if unused := list(range(len(tokenizer), model.config.padded_vocab_size)):
        arguments["suppress_tokens"] = unused
    return arguments | options


@torch.no_grad()  # as a decorator: a `with` block would also apply to the code that consumes the tokens
def _sampled_tokens(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    synced_gpus: bool = False,
    **inputs: Any,
) -> Iterator[int]:
    """Sample tokens as `generate` does, and yield each at once. `generate` calls this as its last step.

    Args:
        model: The model.
        input_ids: The prompt, int64, shape (1, seq).
        logits_processor: Changes the logits before sampling.
        stopping_criteria: Decide when to stop.
        generation_config: Decides whether to sample.
        synced_gpus: Not used.
        inputs: Inputs of the model's forward pass.
    """
    unread = input_ids.shape[1] - inputs["past_key_values"].get_seq_length()
    first = True
    while True:
        step = model.prepare_inputs_for_generation(
            input_ids, next_sequence_length=unread, is_first_iteration=first, **inputs
        )
        output = model(**step, return_dict=True)
        inputs = model._update_model_kwargs_for_generation(output, inputs)
        scores = logits_processor(input_ids, output.logits[:, -1].float())
        if generation_config.do_sample:
            token = torch.multinomial(scores.softmax(dim=-1), num_samples=1)
        else:
            token = scores.argmax(dim=-1, keepdim=True)
        input_ids = torch.cat([input_ids, token], dim=-1)
        yield int(token)
        if stopping_criteria(input_ids, None).all():
            return
        unread, first = 1, False
