"""Asking ChatGLM2 as its original could be asked: `chat` and `stream_chat`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from papertune.models.chatglm2.tokenization import ChatGLMTokenizer, process_response

History = list[tuple[str, str]]

# Decoding gives it for the bytes of a character that is not complete yet.
_HALF_A_CHARACTER = "\ufffd"


@dataclass
class HeardTokens:
    """What the model has kept of a conversation, for the next question.

    Attributes:
        ids: The tokens in the cache.
        cache: Their keys and values.
    """

    ids: list[int]
    cache: Any


class ChatMixin:
    """The two ways to ask a ChatGLM2 model."""

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
            tokenizer: The model's own.
            query: The question.
            history: Earlier questions with their answers; left as it is.
            max_length: Most tokens of the conversation, answer included.
            num_beams: Beams of the search; 1: none.
            do_sample: Draw the tokens instead of taking the likeliest.
            top_p: Draw among the likeliest that have this much probability together.
            temperature: Divides the logits; a small one makes the answer nearly the likeliest.
            logits_processor: Changes the logits before drawing.
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
        past_key_values: HeardTokens | None = None,
        max_length: int = 8192,
        do_sample: bool = True,
        top_p: float = 0.8,
        temperature: float = 0.8,
        logits_processor: Any = None,
        return_past_key_values: bool = False,
        **options: Any,
    ) -> Iterator[Any]:
        """Ask a question, and give what there is of the answer after each token.

        A character that takes several tokens is given when it is complete.

        Args:
            tokenizer: The model's own.
            query: The question.
            history: Earlier questions with their answers; left as it is.
            past_key_values: What the call for the question before has given as such: what it has read is not read
                again. It is used up.
            max_length: Most tokens of the conversation, answer included.
            do_sample: Draw the tokens instead of taking the likeliest.
            top_p: Draw among the likeliest that have this much probability together.
            temperature: Divides the logits.
            logits_processor: Changes the logits before drawing.
            return_past_key_values: Give them as a third thing.
            options: More arguments of `generate`.

        Yields:
            The answer so far, and the history with this question and that answer.
        """
        inputs = _inputs(self, tokenizer, query, history)
        prompt: list[int] = inputs["input_ids"][0].tolist()
        heard = past_key_values or HeardTokens([], DynamicCache(config=self.config))
        # The last token is read in any case, or there were no logits to begin with.
        known = takewhile(lambda pair: pair[0] == pair[1], zip(heard.ids, prompt[:-1], strict=False))
        if unfit := heard.cache.get_seq_length() - len(list(known)):
            heard.cache.crop(-unfit)
        tokens = self.generate(
            **inputs,
            past_key_values=heard.cache,
            logits_processor=logits_processor,
            custom_generate=_drawn_tokens,
            **_sampling(self, tokenizer, max_length, do_sample, top_p, temperature, options),
        )
        ids: list[int] = []
        answer: str | None = None

        def given(text: str) -> tuple[Any, ...]:
            heard.ids = [*prompt, *ids][: heard.cache.get_seq_length()]
            result = text, [*_turns(history), (query, text)]
            return (*result, heard) if return_past_key_values else result

        for token in tokens:
            ids.append(token)
            text = tokenizer.decode(ids)
            if text.endswith(_HALF_A_CHARACTER) or (text := process_response(text)) in ("", answer):
                continue
            answer = text
            yield given(text)
        if (text := process_response(tokenizer.decode(ids))) != answer:
            yield given(text)


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
    """Give arguments of `generate`, without those that it would complain about."""
    arguments: dict[str, Any] = {"do_sample": do_sample}
    if "max_new_tokens" not in options:
        arguments["max_length"] = max_length
    if do_sample:
        arguments |= {"top_p": top_p, "temperature": temperature}
    # Rows of the output layer that belong to no token; they could not be decoded.
    if unused := list(range(len(tokenizer), model.config.padded_vocab_size)):
        arguments["suppress_tokens"] = unused
    return arguments | options


@torch.no_grad()  # as a decorator: a context here would reach those who take the tokens
def _drawn_tokens(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    synced_gpus: bool = False,
    **inputs: Any,
) -> Iterator[int]:
    """Draw tokens as `generate` does, and give each as soon as it is there; `generate` calls this in its last step.

    Args:
        model: The model.
        input_ids: The prompt, int64, shape (1, seq).
        logits_processor: Changes the logits before drawing.
        stopping_criteria: Say when it is enough.
        generation_config: Says whether to draw.
        synced_gpus: Without effect.
        inputs: Of the model's forward pass.
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
