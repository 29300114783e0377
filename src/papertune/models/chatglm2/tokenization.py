"""The tokenizer of ChatGLM2: the pieces of a SentencePiece model, and five special tokens after them.

Written for the current transformers. The expected results come from the published `tokenizer.model`, and from ids,
texts and layouts that were recorded with the published tokenizer (tests/models/chatglm2/tokenizer_goldens.json).

    ids      0      1     2     3 ... 258     259 ... n-1     n        n+1       n+2       n+3   n+4
    tokens   <unk>  <s>   </s>  256 bytes     other pieces    [MASK]   [gMASK]   [sMASK]   sop   eop

with n = 64789 in the published model. Its embedding has 65024 rows; ids after `eop` have no token.

Every input begins with [gMASK] sop. Text never becomes a special token: "</s>" or "sop" in a text are ordinary pieces.
Therefore there are no added tokens in the sense of transformers, which it searches for in the text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sentencepiece import SentencePieceProcessor
from transformers import PythonBackend

# Their ids follow the ids of the pieces, in this order.
_TOKENS_AFTER_PIECES = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")

# Settings of the published tokenizer_config.json that would mislead in a saved one: the first names remote code, the
# others have no effect.
_DROPPED_SETTINGS = ("auto_map", "do_lower_case", "remove_space")

# A question always ends with a blank line. An answer does so only if another question follows; nothing follows the last
# answer, as in training, where the end token is next.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{{ raise_exception('ChatGLM2 has no system messages. Put the instruction into the first question.') }}"
    "{% elif message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
    "{{ raise_exception('The messages must be user, assistant, user, ... in turn, but message ' ~ loop.index"
    " ~ ' is of role \"' ~ message['role'] ~ '\".') }}"
    "{% elif message['content'] is not string %}"
    "{{ raise_exception('The content of message ' ~ loop.index ~ ' is not text.') }}"
    "{% elif message['role'] == 'user' %}"
    "{{ '[Round ' ~ (loop.index0 // 2 + 1) ~ ']\\n\\n问：' ~ message['content'] ~ '\\n\\n' }}"
    "{% else %}"
    "{{ '答：' ~ message['content'] ~ ('' if loop.last else '\\n\\n') }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{% if messages[-1]['role'] != 'user' %}"
    "{{ raise_exception('There is no question to answer: the last message is an answer.') }}"
    "{% endif %}"
    "{{ '答：' }}"
    "{% endif %}"
)


class ChatGLMTokenizer(PythonBackend):  # type: ignore[misc]
    """Turns text into ids and back, like the published ChatGLM2 tokenizer.

    An input is `[gMASK] sop text`, a pair `[gMASK] sop first second </s>`. Batches are padded on the left with id 0.
    Position ids are 0 for padding, then 0, 1, 2, ...

    Special tokens have no text: decoding omits them, with or without `skip_special_tokens`.

    Args:
        vocab_file: The SentencePiece model, `tokenizer.model`.
        bos_token: Begin token; ChatGLM2 does not use it.
        eos_token: End token.
        unk_token: Unknown token; no text needs it, because the pieces include all 256 bytes.
        pad_token: Padding token.
        chat_template: The format of messages; the default is that of ChatGLM2's training.
        added_tokens_decoder: Special tokens by id, from a tokenizer saved by another version; only checked.
        **kwargs: Settings of `PythonBackend`.

    Raises:
        ValueError: If the file is missing or not a SentencePiece model, or does not fit the special tokens.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "tokenizer.model"}
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask", "position_ids"]
    padding_side = "left"

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        *,
        bos_token: str = "<s>",
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        pad_token: str = "<unk>",
        chat_template: str | dict[str, str] | None = CHAT_TEMPLATE,
        added_tokens_decoder: Mapping[int, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if vocab_file is None:
            raise ValueError("the tokenizer's file tokenizer.model is missing. Download it too.")
        try:
            self._sentencepiece = SentencePieceProcessor(model_file=str(vocab_file))
        except RuntimeError as error:
            raise ValueError(f"{vocab_file} cannot be read as a SentencePiece model: {error}") from error
        pieces = self._sentencepiece.get_piece_size()
        self._special_ids = {
            self._sentencepiece.id_to_piece(index): index
            for index in range(pieces)
            if self._sentencepiece.is_control(index) or self._sentencepiece.is_unknown(index)
        }
        for index, token in enumerate(_TOKENS_AFTER_PIECES, start=pieces):
            if self._sentencepiece.piece_to_id(token) != self._sentencepiece.unk_id():
                raise ValueError(f'{vocab_file} has a piece "{token}", which is also a special token of ChatGLM2.')
            self._special_ids[token] = index
        for index, token in (added_tokens_decoder or {}).items():
            if self._special_ids.get(str(token)) != index:
                raise ValueError(f'the saved tokenizer has token "{token}" with id {index}, but ChatGLM2 does not.')
        for name in _DROPPED_SETTINGS:
            kwargs.pop(name, None)
        kwargs.setdefault("extra_special_tokens", list(_TOKENS_AFTER_PIECES))
        super().__init__(
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            chat_template=chat_template,
            **kwargs,
        )

    # Vocabulary

    @property
    def sentencepiece(self) -> SentencePieceProcessor:
        """The SentencePiece model."""
        return self._sentencepiece

    @property
    def vocab_size(self) -> int:
        """Number of tokens, including special tokens."""
        return self._sentencepiece.get_piece_size() + len(_TOKENS_AFTER_PIECES)

    def __len__(self) -> int:
        return self.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each token."""
        return {self._convert_id_to_token(index): index for index in range(self.vocab_size)}

    def _convert_token_to_id(self, token: str) -> int:
        special = self._special_ids.get(token)
        return self._sentencepiece.piece_to_id(token) if special is None else special

    def _convert_id_to_token(self, index: int) -> str:
        pieces = self._sentencepiece.get_piece_size()
        if 0 <= index < pieces:
            return self._sentencepiece.id_to_piece(index)
        if pieces <= index < self.vocab_size:
            return _TOKENS_AFTER_PIECES[index - pieces]
        raise IndexError(f"there is no token with id {index}: the ids are 0 to {self.vocab_size - 1}.")

    def _add_tokens(self, new_tokens: Sequence[Any], special_tokens: bool = False) -> int:
        """Reject new tokens. The base class also adds the named special tokens here, which already exist."""
        for token in map(str, new_tokens):
            if token not in self._special_ids and self._convert_token_to_id(token) == self._sentencepiece.unk_id():
                raise ValueError(f'ChatGLM2 has no token "{token}", and its vocabulary cannot be extended.')
        return 0

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the SentencePiece model, byte for byte."""
        name = self.vocab_files_names["vocab_file"]
        file = Path(save_directory) / (f"{filename_prefix}-{name}" if filename_prefix else name)
        file.write_bytes(self._sentencepiece.serialized_model_proto())
        return (str(file),)

    # Text to ids

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:
        """Split a text into pieces.

        The base class first searches the text for special tokens, depending on `split_special_tokens`. Here nothing
        in a text is special, for any arguments.

        Raises:
            UnicodeEncodeError: If the text contains half a surrogate pair.
        """
        text.encode()  # SentencePiece has no clear error for half a surrogate pair
        tokens: list[str] = self._sentencepiece.encode(text, out_type=str)
        return tokens

    def _encode_plus(self, text: Any, text_pair: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Encode as the base class does, but let SentencePiece find the ids.

        Looking them up piece by piece would double the time. The base class accepts ids in place of text.
        """
        # In these cases the base class first removes marks of a chat, or joins words.
        if not kwargs.get("sanitize_control_tokens") and not kwargs.get("is_split_into_words"):
            text, text_pair = self._ids_of(text), self._ids_of(text_pair)
        return super()._encode_plus(text, text_pair, *args, **kwargs)

    def _ids_of(self, text: Any) -> Any:
        """Return the ids of a text that is not empty, or of each in a list of such texts; anything else unchanged."""
        texts = text if isinstance(text, list) else [text]
        if not texts or not all(isinstance(each, str) and each for each in texts):
            return text
        for each in texts:
            each.encode()  # as in `tokenize`
        return self._sentencepiece.encode(text, out_type=int)  # uses all cores for a list

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return the ids of an input: `[gMASK] sop first`, or `[gMASK] sop first second </s>`."""
        ids = [*self.get_prefix_tokens(), *token_ids_0]
        return ids if token_ids_1 is None else [*ids, *token_ids_1, self.get_command("<eos>")]

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for each special token of an input, and 0 for each other token."""
        if already_has_special_tokens:
            mask: list[int] = super().get_special_tokens_mask(token_ids_0, token_ids_1, already_has_special_tokens=True)
            return mask
        mask = [1] * len(self.get_prefix_tokens()) + [0] * len(token_ids_0)
        return mask if token_ids_1 is None else [*mask, *([0] * len(token_ids_1)), 1]

    def _pad(self, encoded_inputs: Any, *args: Any, padding_side: str | None = None, **kwargs: Any) -> Any:
        """Pad one input, including its position ids."""
        before = encoded_inputs[self.model_input_names[0]]
        if "position_ids" in self.model_input_names and "position_ids" not in encoded_inputs:
            mask = encoded_inputs.get("attention_mask", [1] * len(before))
            encoded_inputs["position_ids"] = _positions(mask)
        padded = super()._pad(encoded_inputs, *args, padding_side=padding_side, **kwargs)
        if "position_ids" in padded:
            pads = [0] * (len(padded[self.model_input_names[0]]) - len(before))
            positions = padded["position_ids"]
            on_left = (padding_side or self.padding_side) == "left"
            padded["position_ids"] = [*pads, *positions] if on_left else [*positions, *pads]
        return padded

    # Ids to text

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens into text, without special tokens and without the space before the first word."""
        # Special tokens become empty pieces, so that bytes on both sides do not join into one character.
        text: str = self._sentencepiece.decode(["" if token in self._special_ids else token for token in tokens])
        return text

    def _decode(self, token_ids: int | list[int], skip_special_tokens: bool = False, **kwargs: Any) -> str:
        """Decode ids. Special tokens have no text, so there is nothing to skip."""
        text: str = super()._decode(token_ids, skip_special_tokens=False, **kwargs)
        return text

    # Chat

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Any = None,
        documents: Any = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        sanitize_control_tokens: bool = False,
        padding: Any = False,
        truncation: Any = False,
        max_length: int | None = None,
        return_tensors: Any = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Write a conversation in the format of ChatGLM2's training, and encode it.

        Other models' templates write the begin token as text, which the base class encodes. Here text never becomes a
        special token: the ids begin with [gMASK] sop, and the text does not contain them.

        The arguments are those of the base class. `sanitize_control_tokens` has no effect, because nothing in a message
        is special, and the template of ChatGLM2 ignores `tools` and `documents`.

        Raises:
            ValueError: If `return_assistant_tokens_mask` is set.
            jinja2.TemplateError: If there is a system message, or if questions and answers do not alternate.
        """
        if return_assistant_tokens_mask:
            raise ValueError("this tokenizer does not support return_assistant_tokens_mask.")
        text = super().apply_chat_template(
            conversation,
            tools=tools,
            documents=documents,
            chat_template=chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tokenize=False,
            **kwargs,
        )
        if not tokenize:
            return text
        encoded = self(
            text,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            return_tensors=return_tensors,
            **(tokenizer_kwargs or {}),
        )
        return encoded if return_dict else encoded["input_ids"]

    def build_prompt(self, query: str, history: Sequence[tuple[str, str]] | None = None) -> str:
        """Write a question, after earlier questions with their answers, in the format of ChatGLM2's training."""
        messages = [
            {"role": role, "content": content}
            for turn in history or ()
            for role, content in zip(("user", "assistant"), turn, strict=True)
        ]
        messages.append({"role": "user", "content": query})
        text: str = self.apply_chat_template(
            messages, chat_template=CHAT_TEMPLATE, add_generation_prompt=True, tokenize=False
        )
        return text

    def get_prefix_tokens(self) -> list[int]:
        """Return the ids that every input begins with: [gMASK] sop."""
        return [self._special_ids["[gMASK]"], self._special_ids["sop"]]

    def get_command(self, token: str) -> int:
        """Return the id of a special token, such as "[gMASK]", "sop", "<bos>", "<eos>", "<pad>" or "<unk>".

        Raises:
            ValueError: If there is no such special token.
        """
        name = {"<bos>": "<s>", "<eos>": "</s>", "<pad>": "<unk>"}.get(token, token)
        if name not in self._special_ids:
            raise ValueError(f'"{token}" is not a special token. There are {", ".join(self._special_ids)}.')
        return self._special_ids[name]


def process_response(response: str) -> str:
    """Clean an answer like the published chat function: strip it, and replace a placeholder with a year."""
    return response.strip().replace("[[训练时间]]", "2023年")


def _positions(mask: Sequence[int]) -> list[int]:
    """Number the real tokens from 0; padding has 0."""
    positions, count = [], 0
    for bit in mask:
        positions.append(count if bit else 0)
        count += bool(bit)
    return positions
