"""Exports to Ollama: a .gguf file and its Modelfile."""

from pathlib import Path
from typing import ClassVar

from papertune.exports.format import Exported
from papertune.exports.formats.gguf import MODEL_FILE, GgufExport, context_of

_FILE = "Modelfile"


class OllamaExport(GgufExport):
    """A .gguf file with a Modelfile."""

    name: ClassVar[str] = "ollama"
    title: ClassVar[str] = "Ollama"
    has_adapters: ClassVar[bool] = False
    tags: ClassVar[tuple[str, ...]] = ("gguf", "ollama")

    def write(self, exported: Exported, folder: Path) -> None:
        """Write model.gguf and the Modelfile."""
        super().write(exported, folder)
        (folder / _FILE).write_text(modelfile(exported), "utf-8")

    def serving(self, exported: Exported) -> str:
        """Return how Ollama makes and asks a model."""
        return f"""    ollama create {exported.name.lower()} -f {_FILE}
    ollama run {exported.name.lower()} "$(cat prompt.txt)"

prompt.txt has the document and the question, as below; the Modelfile's TEMPLATE puts the rest around them, the same text
in every call, so send no system message. Ollama reads text only, no token ids, and its answer is the most probable
token, so a label of one token is right, and its probability is in `logprobs` of a request with `"logprobs": true`:

    POST http://127.0.0.1:11434/api/generate
    {{"model": "{exported.name.lower()}", "prompt": "...", "stream": false, "logprobs": true, "top_logprobs": 20}}

A special token that a document contains becomes that token. To compare with check.json use llama.cpp: {MODEL_FILE} is
the same file as that of --to gguf."""


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
    """Return text that a template of Go writes as it is, inside three quotes."""
    return text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}')
