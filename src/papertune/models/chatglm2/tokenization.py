"""The tokenizer of ChatGLM2: the pieces of a SentencePiece model, and five special tokens after them.

Written anew for the current transformers. What it must give was taken from the published `tokenizer.model` and from
ids, texts and layouts recorded with the published tokenizer (tests/models/chatglm2/tokenizer_goldens.json).

    ids      0      1     2     3 ... 258     259 ... n-1     n        n+1       n+2       n+3   n+4
    tokens   <unk>  <s>   </s>  256 bytes     other pieces    [MASK]   [gMASK]   [sMASK]   sop   eop

with n = 64789 in the published model. Its embedding has 65024 rows; the ids behind `eop` belong to no token.

Every input begins with [gMASK] sop. No text ever becomes a special token: "</s>" or "sop" that somebody has typed are
ordinary pieces. So there are no added tokens in the sense of transformers, which are searched for in the text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sentencepiece import SentencePieceProcessor
from transformers import PythonBackend

# Their ids follow those of the pieces, in this order.
_TOKENS_AFTER_PIECES = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")

# Settings of the published tokenizer_config.json that would be misleading in a saved one: the first names its remote
# code, the others have no effect.
_DROPPED_SETTINGS = ("auto_map", "do_lower_case", "remove_space")

# A question ends with a blank line, whether an answer follows or is asked for. What follows an answer depends on the
# next question; the last one has nothing behind it, as in training, where the end token comes next.
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
    """Turns text into ids and back, as the published ChatGLM2 tokenizer does.

    An input is `[gMASK] sop text`, a pair `[gMASK] sop first second </s>`. Batches are padded on the left with id 0,
    and have position ids: 0 on pads, then 0, 1, 2, ...

    Special tokens have no text: decoding leaves them out, whether `skip_special_tokens` is set or not.

    Args:
        vocab_file: The SentencePiece model, `tokenizer.model`.
        bos_token: Begin token; ChatGLM2 does not use it.
        eos_token: End token.
        unk_token: Unknown token; with the 256 bytes among the pieces, no text needs it.
        pad_token: Padding token.
        chat_template: How messages are written; by default as ChatGLM2 was trained.
        added_tokens_decoder: Special tokens by id, as other versions have saved them; checked, otherwise not needed.
        **kwargs: Settings of `PythonBackend`.

    Raises:
        ValueError: If the file is missing or no SentencePiece model, or if it does not fit the special tokens.
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
            raise ValueError("the tokenizer's file tokenizer.model is missing. Fetch it too.")
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
                raise ValueError(f'{vocab_file} has a piece "{token}", which text could not be told from the token.')
            self._special_ids[token] = index
        for index, token in (added_tokens_decoder or {}).items():
            if self._special_ids.get(str(token)) != index:
                raise ValueError(f'the tokenizer was saved with token "{token}" as id {index}, which ChatGLM2 lacks.')
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
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self._sentencepiece.get_piece_size() + len(_TOKENS_AFTER_PIECES)

    def __len__(self) -> int:
        return self.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Give the id of each token."""
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
        """Refuse new tokens; the base class also adds the named special tokens here, which are all there already."""
        for token in map(str, new_tokens):
            if token not in self._special_ids and self._convert_token_to_id(token) == self._sentencepiece.unk_id():
                raise ValueError(f'ChatGLM2 has no token "{token}", and its vocabulary cannot be extended.')
        return 0

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the SentencePiece model, byte for byte as it was read."""
        name = self.vocab_files_names["vocab_file"]
        file = Path(save_directory) / (f"{filename_prefix}-{name}" if filename_prefix else name)
        file.write_bytes(self._sentencepiece.serialized_model_proto())
        return (str(file),)

    # Text to ids

    def tokenize(self, text: str, **kwargs: Any) -> list[str]:
        """Cut a text into pieces.

        The base class searches the text for special tokens first, depending on `split_special_tokens`. Here nothing
        in a text is special, whatever the arguments.

        Raises:
            UnicodeEncodeError: If there is half a surrogate pair in the text.
        """
        text.encode()  # SentencePiece would not say what is wrong with half a surrogate pair
        tokens: list[str] = self._sentencepiece.encode(text, out_type=str)
        return tokens

    def _encode_plus(self, text: Any, text_pair: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Encode as the base class does, but without looking up the id of one piece after the other.

        That takes as long as finding the pieces. The base class leaves ids as they are where it expects text.
        """
        # A text of a chat has marks, which the base class takes out; and words it joins.
        if not kwargs.get("sanitize_control_tokens") and not kwargs.get("is_split_into_words"):
            text, text_pair = self._ids_of(text), self._ids_of(text_pair)
        return super()._encode_plus(text, text_pair, *args, **kwargs)

    def _ids_of(self, text: Any) -> Any:
        """Give the ids of a text that is not empty, or of each one in a list of such texts; anything else as it is."""
        texts = text if isinstance(text, list) else [text]
        if not texts or not all(isinstance(each, str) and each for each in texts):
            return text
        for each in texts:
            each.encode()  # as in `tokenize`
        return self._sentencepiece.encode(text, out_type=int)  # of a list on all cores

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Give the ids of an input: `[gMASK] sop first`, or `[gMASK] sop first second </s>`."""
        ids = [*self.get_prefix_tokens(), *token_ids_0]
        return ids if token_ids_1 is None else [*ids, *token_ids_1, self.get_command("<eos>")]

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Give 1 for each special token of an input, 0 for each of the others."""
        if already_has_special_tokens:
            mask: list[int] = super().get_special_tokens_mask(token_ids_0, token_ids_1, already_has_special_tokens=True)
            return mask
        mask = [1] * len(self.get_prefix_tokens()) + [0] * len(token_ids_0)
        return mask if token_ids_1 is None else [*mask, *([0] * len(token_ids_1)), 1]

    def _pad(self, encoded_inputs: Any, *args: Any, padding_side: str | None = None, **kwargs: Any) -> Any:
        """Pad one input, position ids included."""
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
        """Join tokens into text. Special tokens have none; the space before the first word is not written."""
        # An empty piece instead of none: the bytes of a character do not join across a special token.
        text: str = self._sentencepiece.decode(["" if token in self._special_ids else token for token in tokens])
        return text

    def _decode(self, token_ids: int | list[int], skip_special_tokens: bool = False, **kwargs: Any) -> str:
        """Decode ids; there is nothing to skip, as special tokens have no text anyway."""
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
        """Write a conversation as ChatGLM2 was trained, and encode it.

        Other models' templates write the begin token, and the base class encodes what they have written. Here no text
        becomes a special token, so the ids begin with [gMASK] sop and the text does not show them.

        Args:
            conversation: Messages with `role` and `content`, or a list of such lists.
            tools: For the template; that of ChatGLM2 has no place for them.
            documents: For the template; that of ChatGLM2 has no place for them.
            chat_template: Another template, or the name of one.
            add_generation_prompt: Ask for an answer to the last message.
            continue_final_message: Leave the last message open, to be continued.
            tokenize: Give ids instead of text.
            sanitize_control_tokens: Without effect, as nothing in the messages is ever special.
            padding: As in a call of the tokenizer.
            truncation: As in a call of the tokenizer.
            max_length: As in a call of the tokenizer, in tokens.
            return_tensors: As in a call of the tokenizer.
            return_dict: Give all that a call of the tokenizer gives, instead of the ids alone.
            return_assistant_tokens_mask: Refused, as it is for all tokenizers in Python.
            tokenizer_kwargs: More arguments of a call of the tokenizer.
            **kwargs: Variables for the template.

        Raises:
            ValueError: If `return_assistant_tokens_mask` is set.
            jinja2.TemplateError: If there is a system message, or questions and answers are not in turn.
        """
        if return_assistant_tokens_mask:
            raise ValueError("this tokenizer cannot tell which tokens are the assistant's.")
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
        """Write a question, and the earlier questions with their answers, as ChatGLM2 was trained."""
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
        """Give the ids that every input begins with: [gMASK] sop."""
        return [self._special_ids["[gMASK]"], self._special_ids["sop"]]

    def get_command(self, token: str) -> int:
        """Give the id of a special token, such as "[gMASK]", "sop", "<bos>", "<eos>", "<pad>" or "<unk>".

        Raises:
            ValueError: If there is no such special token.
        """
        name = {"<bos>": "<s>", "<eos>": "</s>", "<pad>": "<unk>"}.get(token, token)
        if name not in self._special_ids:
            raise ValueError(f'"{token}" is no special token. There are {", ".join(self._special_ids)}.')
        return self._special_ids[name]


def process_response(response: str) -> str:
    """Clean an answer as the published chat function does: no blanks around it, and a year for a placeholder in it."""
    return response.strip().replace("[[训练时间]]", "2023年")


def _positions(mask: Sequence[int]) -> list[int]:
    """Number the tokens that are no pads from 0; pads have 0."""
    positions, count = [], 0
    for bit in mask:
        positions.append(count if bit else 0)
        count += bool(bit)
    return positions
