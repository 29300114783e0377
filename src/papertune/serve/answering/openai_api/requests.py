"""Requests of OpenAI's API: what they may have, and what of it a run can do."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from papertune.decoding.choosing import Sampling
from papertune.serve.answering.openai_api.errors import unsupported
from papertune.serve.answering.openai_api.models import Target
from papertune.serve.answering.predict import MAX_ROWS
from papertune.serve.answering.wanted import Dialogue
from papertune.serve.errors import ServeError

# They change no answer.
_WITHOUT_EFFECT = {
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
}
# Values with which a parameter that papertune does not have asks for nothing.
_ASKS_NOTHING: list[Any] = [None, 0, 1, "", "none", "auto", [], {}, ["text"], {"type": "text"}]

Texts = Annotated[list[str], Field(min_length=1, max_length=MAX_ROWS)]


class StreamOptions(BaseModel):
    """Options of a stream: whether a last chunk has the usage."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool = False


class SharedRequest(BaseModel):
    """What both kinds of requests have; a parameter that is not named here is refused if it asks for something."""

    model_config = ConfigDict(extra="allow")

    model: str
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen: the most probable ones, unless a temperature is given."""
        seed = None if self.seed is None else self.seed % 2**63
        return Sampling(self.temperature or 0.0, 1.0 if self.top_p is None else max(self.top_p, 1e-9), seed)

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """The texts before which an answer ends."""
        texts = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in texts if text)

    def check(self, target: Target) -> None:
        """Check that a run can do what is asked for.

        Raises:
            ServeError: 400, with the name of the parameter.
        """
        self._check_others(target)
        if self.n is not None and self.n > 1:
            why = "a column has one answer" if target.columns else "papertune writes one answer at a time"
            raise unsupported("n", f"n is {self.n}, but {why}. Leave n out, or set it to 1.")
        if target.columns and self.temperature:
            raise unsupported(
                "temperature",
                f"temperature is {self.temperature:g}, but columns are not filled in at random. Leave it out, or set "
                "it to 0.",
            )

    def _check_others(self, target: Target) -> None:
        for name, value in (self.model_extra or {}).items():
            wants_json = name == "response_format" and target.is_all and value == {"type": "json_object"}
            if name not in _WITHOUT_EFFECT and value not in _ASKS_NOTHING and not wants_json:
                raise ServeError(
                    400, "unsupported_parameter", f"papertune does not support {name}. Leave it out.", name
                )


class Message(BaseModel):
    """A message of a conversation; its content is text, or parts that are text."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None

    def text(self, place: str) -> str:
        """Return the content as one text.

        Args:
            place: The parameter, for messages.

        Raises:
            ServeError: 400 if a part is not text.
        """
        if self.content is None or isinstance(self.content, str):
            return whole_text(self.content or "", f"{place}.content")
        texts = []
        for number, part in enumerate(self.content):
            if part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise unsupported(
                    f"{place}.content[{number}]", f"{place}.content[{number}] is not text. Send text only."
                )
            texts.append(part["text"])
        return whole_text("\n".join(texts), f"{place}.content")


class ChatRequest(SharedRequest):
    """A request of /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    def check(self, target: Target) -> None:
        """Check that a run can do what is asked for; see `SharedRequest.check`."""
        super().check(target)
        if self.top_logprobs is not None and not self.logprobs:
            raise unsupported("top_logprobs", "top_logprobs needs logprobs to be true. Set it, or leave both out.")
        if self.logprobs:
            check_logprobs(target)

    @property
    def dialogue(self) -> Dialogue:
        """The conversation: neighbours of the same role are one message, system messages are one at the beginning.

        Raises:
            ServeError: 400 if the last message is not the user's.
        """
        texts = [(each.role, each.text(f"messages[{number}]")) for number, each in enumerate(self.messages)]
        system = "\n\n".join(text for role, text in texts if role in ("system", "developer"))
        turns: list[tuple[str, str]] = []
        for role, text in texts:
            if role in ("user", "assistant"):
                if turns and turns[-1][0] == role:
                    turns[-1] = role, f"{turns[-1][1]}\n\n{text}"
                else:
                    turns.append((role, text))
        if not turns or turns[-1][0] != "user":
            raise unsupported("messages", "the last message is not the user's. End the messages with a question.")
        if turns[0][0] == "assistant":
            turns.insert(0, ("user", ""))
        said = [text for _, text in turns]
        return Dialogue(said[-1], tuple(zip(said[:-1:2], said[1:-1:2], strict=True)), system)


class CompletionRequest(SharedRequest):
    """A request of /v1/completions."""

    prompt: str | Texts
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    @property
    def prompts(self) -> list[str]:
        """The prompts, each with an answer of its own.

        Raises:
            ServeError: 400 if one cannot be read.
        """
        texts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        return [whole_text(text, "prompt") for text in texts]

    @field_validator("prompt", mode="before")
    @classmethod
    def _check_prompt(cls, value: Any) -> Any:
        if not isinstance(value, str | list) or (
            isinstance(value, list) and not all(isinstance(each, str) for each in value)
        ):
            raise ValueError("it must be a text or a list of texts; tokens are not supported")
        return value

    def check(self, target: Target) -> None:
        """Check that a run can do what is asked for; see `SharedRequest.check`."""
        super().check(target)
        if self.logprobs is not None:
            check_logprobs(target)


def whole_text(text: str, where: str) -> str:
    """Return a text, if it has whole characters only: JSON can name half of one.

    Args:
        text: The text.
        where: The parameter that it comes from, for the message.

    Raises:
        ServeError: 400 if it has not.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])[1:-1]
        raise unsupported(where, f"{where} has half of a surrogate pair ({half}), which is not a character.") from None
    return text


def check_logprobs(target: Target) -> None:
    """Refuse probabilities of several columns in one answer.

    Raises:
        ServeError: 400.
    """
    if target.is_all:
        name = f"{target.run}:{target.columns[0]}"
        raise unsupported(
            "logprobs",
            f"the answer of {target.run}:* has several columns. Ask for one, such as {name}, or leave logprobs out.",
        )
