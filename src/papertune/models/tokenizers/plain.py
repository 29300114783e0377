"""A model's tokenizer without transformers, whose import takes seconds, for what only looks at prompts.

Only tokenizers are read of which transformers changes nothing when it loads them (5.23, `TokenizersBackend`): its own
class, byte pairs, special tokens that tokenizer.json has as such, a chat template that uses nothing of transformers'
additions to jinja. All others are transformers' work.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from papertune.models.configurations import check_model_files, read_stated_config
from papertune.models.finding import Base

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Settings that change neither ids nor texts of one prompt. Cleaning up blanks is not done for byte pairs.
_WITHOUT_EFFECT = (
    *("tokenizer_class", "backend", "is_local", "local_files_only", "model_max_length", "padding_side"),
    *("clean_up_tokenization_spaces", "model_input_names"),
)
_SETTINGS = frozenset([*_NAMED, *_WITHOUT_EFFECT, "extra_special_tokens", "chat_template"])
_FILES = ("config", "tokenizer_config")
# Files that transformers reads beside tokenizer.json.
_OTHER_FILES = ("added_tokens.json", "special_tokens_map.json", "additional_chat_templates")
# Of larger vocabularies transformers asks whether they are a Mistral's.
_MAX_VOCABULARY = 100_000
_TEMPLATE_VARIABLES = frozenset(["messages", "add_generation_prompt", "raise_exception", *_NAMED])


class PlainTokenizer:
    """A tokenizer with the methods of transformers' that prompts are encoded and shown with.

    Args:
        backend: The tokenizer of the library `tokenizers`; changed.
        named: The named special tokens, such as "eos_token".
        chat_template: The chat template, or None.
    """

    def __init__(self, backend: "Tokenizer", named: Mapping[str, str], chat_template: str | None) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._named = named
        self.chat_template = chat_template
        end = named.get("eos_token")
        self.eos_token_id: int | None = None if end is None else backend.token_to_id(end)

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """The added tokens by id."""
        return self._backend.get_added_tokens_decoder()

    def __call__(
        self, texts: Sequence[str], *, add_special_tokens: bool = True, split_special_tokens: bool = False
    ) -> dict[str, list[list[int]]]:
        """Encode texts."""
        self._backend.encode_special_tokens = split_special_tokens
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [each.ids for each in encoded]}

    def encode(self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False) -> list[int]:
        """Encode a text."""
        encoded = self([text], add_special_tokens=add_special_tokens, split_special_tokens=split_special_tokens)
        return encoded["input_ids"][0]

    def _encode_without_added_tokens(self, text: str) -> list[int]:
        if self._backend.normalizer is not None:
            text = self._backend.normalizer.normalize_str(text)
        before = self._backend.pre_tokenizer
        parts = [text] if before is None else [part for part, _ in before.pre_tokenize_str(text)]
        return [token.id for part in parts for token in self._backend.model.tokenize(part)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens included."""
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """Return the id of a token."""
        return self._backend.token_to_id(token)

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        return_dict: bool = False,
    ) -> str | list[int]:
        """Write messages with the chat template, and encode them if wanted.

        Raises:
            TemplateError: If the template has no place for a message.
        """
        if return_dict:
            raise ValueError("return_dict is not supported")
        text: str = self._template.render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            raise_exception=_raise_exception,
            **self._named,
        )
        return self.encode(text, add_special_tokens=False) if tokenize else text

    @cached_property
    def _template(self) -> Any:
        return _template_environment().from_string(self.chat_template or "")


def load_prompt_tokenizer(base: Base) -> Any:
    """Load a tokenizer that encodes and shows prompts like the base model's: a plain one, or else transformers' own.

    Raises:
        ModelError: If it cannot be loaded.
    """
    check_model_files(Path(base.location))
    tokenizer = read_plain_tokenizer(Path(base.location))
    if tokenizer is not None:
        return tokenizer
    from papertune.models.base import load_tokenizer

    return load_tokenizer(base)


def load_context_config(base: Base) -> Any:
    """Load a configuration that states context and layers of a base model: a plain one, or else transformers' own.

    Raises:
        ModelError: If it cannot be loaded, or the model has fewer layers than are to be kept.
    """
    config = read_stated_config(base)
    if config is not None:
        return config
    from papertune.models.base import load_config

    return load_config(base)


def read_plain_tokenizer(folder: Path) -> PlainTokenizer | None:
    """Read the tokenizer of a model folder; None if transformers would not use it as it stands, or it is damaged.

    Args:
        folder: The folder, with a config.json that `check_model_files` has passed.
    """
    if any((folder / name).exists() for name in _OTHER_FILES):
        return None
    try:
        config, settings = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in _FILES)
    except (OSError, ValueError, RecursionError):
        return None
    # transformers chooses the class by both; for a llama it takes the one that is named.
    is_plain = isinstance(settings, dict) and settings.get("tokenizer_class") == "TokenizersBackend"
    if not is_plain or config.get("model_type") != "llama" or not settings.keys() <= _SETTINGS:
        return None
    named = {name: settings[name] for name in _NAMED if settings.get(name) is not None}
    extra = settings.get("extra_special_tokens") or []
    if not isinstance(extra, list) or not all(isinstance(token, str) for token in [*named.values(), *extra]):
        return None
    try:
        template = _read_template(folder, settings)
    except (OSError, ValueError, RecursionError):
        return None
    backend = _read_backend(folder / "tokenizer.json")
    if backend is None or not _has_as_special(backend, [*named.values(), *extra]):
        return None
    return PlainTokenizer(backend, named, template)


def _read_backend(file: Path) -> "Tokenizer | None":
    """Return a tokenizer of byte pairs that transformers would not mend; None if the file is another or damaged."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    try:
        backend = Tokenizer.from_file(str(file))
    except Exception:  # the library raises nothing narrower; transformers says what is wrong with the file
        return None
    return backend if isinstance(backend.model, BPE) and backend.get_vocab_size() <= _MAX_VOCABULARY else None


def _has_as_special(backend: "Tokenizer", tokens: Sequence[str]) -> bool:
    """Whether all tokens are special ones already, matched in any place; transformers would add or change them."""
    plain = {
        token.content
        for token in backend.get_added_tokens_decoder().values()
        if token.special and not (token.normalized or token.lstrip or token.rstrip or token.single_word)
    }
    return plain.issuperset(tokens)


def _read_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Return the chat template of a folder, or None if it has none.

    Raises:
        ValueError: If transformers' environment of templates could write something else.
    """
    from jinja2 import TemplateError, meta, nodes

    file = folder / "chat_template.jinja"
    template = file.read_text("utf-8") if file.is_file() else settings.get("chat_template")
    if template is None:
        return None
    if not isinstance(template, str):
        raise ValueError("several templates")
    try:
        tree = _template_environment().parse(template)
    except TemplateError as error:
        raise ValueError(str(error)) from error
    if any(node.name == "tojson" for node in tree.find_all(nodes.Filter)):
        raise ValueError("transformers has its own filter")
    if unknown := meta.find_undeclared_variables(tree) - _TEMPLATE_VARIABLES:
        raise ValueError(f"{unknown} may be transformers' own")
    return template


def _template_environment() -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
