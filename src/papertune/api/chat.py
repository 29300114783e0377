"""A conversation with a model."""

import threading
from collections.abc import Iterator
from typing import Any


class Conversation:
    """Asks a model, and remembers what was said.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        max_new_tokens: Longest answer, in tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_new_tokens: int = 256) -> None:
        self.messages: list[dict[str, str]] = []
        self._model = model
        self._tokenizer = tokenizer
        self._max_new_tokens = max_new_tokens

    def ask(self, question: str) -> Iterator[str]:
        """Give the answer piece by piece as it is decoded, greedily."""
        from transformers import TextIteratorStreamer

        self.messages.append({"role": "user", "content": question})
        ids = self._prompt_ids().to(self._model.device)
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        failures: list[BaseException] = []

        def generate() -> None:
            try:
                self._model.generate(
                    input_ids=ids,
                    attention_mask=ids.new_ones(ids.shape),
                    max_new_tokens=self._max_new_tokens,
                    do_sample=False,
                    streamer=streamer,
                    pad_token_id=self._tokenizer.eos_token_id,
                )
            except BaseException as error:  # the other thread waits for the end of the text
                failures.append(error)
                streamer.end()

        worker = threading.Thread(target=generate, daemon=True)
        worker.start()
        answer = ""
        for piece in streamer:
            answer += piece
            yield piece
        worker.join()
        if failures:
            raise failures[0]
        self.messages.append({"role": "assistant", "content": answer})

    def _prompt_ids(self) -> Any:
        if self._tokenizer.chat_template is not None:
            encoded = self._tokenizer.apply_chat_template(
                self.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            return encoded["input_ids"]
        text = "\n".join(message["content"] for message in self.messages) + "\n"
        return self._tokenizer(text, return_tensors="pt")["input_ids"]
