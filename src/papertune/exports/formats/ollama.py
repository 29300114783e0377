"""Exports to Ollama: a .gguf file and its Modelfile."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from papertune.errors import ModelError
from papertune.exports.format import Exported, SamplePrompt
from papertune.exports.formats.gguf import MODEL_FILE, GgufExport, context_of
from papertune.run import Run

_FILE = "Modelfile"


class OllamaExport(GgufExport):
    """A .gguf file with a Modelfile."""

    name: ClassVar[str] = "ollama"
    title: ClassVar[str] = "Ollama"
    has_adapters: ClassVar[bool] = False
    tags: ClassVar[tuple[str, ...]] = ("gguf", "ollama")

    def check(self, run: Run, *, adapter: bool) -> None:
        """Check that text has the tokens of the run."""
        from papertune.models import load_config

        if load_config(run.base).model_type == "chatglm":
            raise ModelError(
                'Ollama cannot ask a ChatGLM2: it gets text, in which it takes each "sop" for a special token. Take '
                "--to gguf, and send token ids to llama-server."
            )
        super().check(run, adapter=adapter)

    def write(self, exported: Exported, folder: Path) -> None:
        """Write model.gguf and the Modelfile."""
        super().write(exported, folder)
        (folder / _FILE).write_text(modelfile(exported), "utf-8")

    def serving(self, exported: Exported, labels: Sequence[int]) -> str:
        """Return how Ollama makes and asks a model."""
        name = exported.name.lower()
        return f"""    ollama create {name} -f {_FILE}
    ollama run {name} "$(cat prompt.txt)"

prompt.txt has the document and the question as below; the Modelfile's TEMPLATE puts the rest around them, the same text
in every call, so send no system message. Ollama reads text, no token ids: a special token that a document contains
becomes that token.{_LABELS if labels else ""}

To compare with check.json use llama.cpp: {MODEL_FILE} is the same file as that of --to gguf."""

    def warning(self, exported: Exported, prompts: Sequence[SamplePrompt]) -> str:
        """Return how often the model would write something else than a label."""
        asked = [each for each in prompts if each.probabilities]
        written = sum(each.writes_label for each in asked)
        if written == len(asked):
            return ""
        return (
            f"Ollama only writes the most probable token, and for {written} of {len(asked)} sample prompts that is one "
            'of a label: the model has learned to choose among labels. Train with loss = "answer", which learns to '
            "write them, or take --to gguf and ask llama-server as ANSWERS.md says."
        )


_LABELS = """

Ollama cannot choose among labels, as papertune does: it writes the most probable token of all. A run with
loss = "answer" learns to write labels; one with loss = "labels", the default, learns to choose among them and may
write anything."""


def modelfile(exported: Exported) -> str:
    """Return the Modelfile; its template is what the run puts around a prompt, in Go's syntax."""
    _, before, after = exported.encoder.frame()
    stop = exported.tokenizer.convert_ids_to_tokens(exported.encoder.end_id)
    template = f"{_go_text(before)}{{{{ .Prompt }}}}{_go_text(after)}"
    return f'''FROM ./{MODEL_FILE}
TEMPLATE """{template}"""
PARAMETER temperature 0
PARAMETER repeat_penalty 1
PARAMETER num_ctx {context_of(exported)}
PARAMETER stop "{stop}"
'''


def _go_text(text: str) -> str:
    """Return text that a template of Go writes as it is, inside the three quotes of a Modelfile.

    A brace may begin an action, also one of ours that follows, and three quotes end the value. Ollama's parser drops
    characters that are not printable, such as every blank but that of ASCII.
    """
    written = "".join(each if _stays(each) else f'{{{{ "\\U{ord(each):08x}" }}}}' for each in text)
    return written.replace('"""', '{{ "\\"\\"\\"" }}')


def _stays(letter: str) -> bool:
    return letter != "{" and (letter.isprintable() or letter in "\n\r\t")
