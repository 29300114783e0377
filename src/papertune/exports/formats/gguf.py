"""Exports to llama.cpp: a .gguf file of the whole model, or of the LoRA adapter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from papertune.errors import RunError
from papertune.exports.base_model import base_title, trained_on
from papertune.exports.format import Exported, ExportFormat, check_plain_adapter
from papertune.exports.gguf_files.architecture import architecture_of
from papertune.exports.gguf_files.vocabulary import vocabulary_of
from papertune.exports.gguf_files.writing import SpecialTokens, Weights, write_adapter, write_model
from papertune.exports.sample import label_tries
from papertune.run import Run

MODEL_FILE, ADAPTER_FILE = "model.gguf", "adapter.gguf"


class GgufExport(ExportFormat):
    """Files of llama.cpp."""

    name: ClassVar[str] = "gguf"
    title: ClassVar[str] = "llama.cpp"
    weights: ClassVar[tuple[Weights, ...]] = ("f16", "bf16", "q8_0", "f32")
    library: ClassVar[str] = "gguf"
    tags: ClassVar[tuple[str, ...]] = ("gguf", "llama.cpp")

    def check(self, run: Run, *, adapter: bool) -> None:
        """Check the architecture, the tokenizer, and an adapter that is to be written by itself."""
        from papertune.methods import check_adapter
        from papertune.methods.method import read_adapter_weights
        from papertune.models import load_config

        config = load_config(run.base)
        architecture_of(config)
        vocabulary_of(run.load_tokenizer(), int(config.vocab_size))
        if adapter:
            check_plain_adapter(run, check_adapter(run.directory.adapter))
            if any(".lora_embedding_" in name for name in read_adapter_weights(run.directory.adapter)):
                raise RunError(
                    f"{run.directory.path}: its adapter changes the model's embedding, which llama.cpp reads in "
                    "another form. Leave --adapter out: the merged model has all of it."
                )

    def write(self, exported: Exported, folder: Path) -> None:
        """Write model.gguf or adapter.gguf."""
        config = exported.model.config
        architecture = architecture_of(config)
        if exported.adapter:
            from papertune.methods import check_adapter
            from papertune.methods.method import read_adapter_weights

            saved = exported.run.directory.adapter
            weights, settings = read_adapter_weights(saved), check_adapter(saved)
            file, numbers = folder / ADAPTER_FILE, exported.weights
            write_adapter(file, weights, settings, architecture, weights=numbers, name=exported.name)
            return
        write_model(
            folder / MODEL_FILE,
            exported.model,
            architecture,
            vocabulary_of(exported.tokenizer, int(config.vocab_size)),
            special_tokens(exported),
            weights=exported.weights,
            name=exported.name,
        )

    def serving(self, exported: Exported, labels: Sequence[int]) -> str:
        """Return how llama-server is started and asked."""
        files = f"-m {MODEL_FILE}"
        about = ""
        if exported.adapter:
            files = f"-m BASE.gguf --lora {ADAPTER_FILE}"
            about = (
                f"\nBASE.gguf is the base model, {base_title(exported.run)}. The adapter was trained on "
                f"{trained_on(exported.run)}. Any other file of the base model has other weights, so its answers "
                "differ from those in check.json. llama.cpp computes products with weights in 4 bits less exactly than "
                "papertune does.\n"
            )
        return f"""    llama-server {files} -c {context_of(exported)} --port 8080
{about}
{_PROMPT}{_labels_request(labels) if labels else ""}{_parts_of_characters(exported)}

As text, a special token that a document contains becomes that token; as ids it does not. llama.cpp does not normalize
Unicode in text as some tokenizers do. Send ids where answers have to agree."""


_PROMPT = """Send a prompt as token ids, with special tokens in their places:

    POST http://127.0.0.1:8080/completion
    {"prompt": [1, 2, 3], "n_predict": 100, "temperature": 0}"""


def _labels_request(ids: Sequence[int]) -> str:
    """Return how a token's share among some tokens is asked for."""
    bias = ", ".join(f"[{number}, 100]" for number in ids)
    return f"""

For labels, ask for the shares of their tokens. The same bias for all of them leaves no room for other tokens, and
leaves their shares as they are:

    {{"prompt": [1, 2, 3], "n_predict": 1, "temperature": 1, "samplers": ["temperature"],
     "logit_bias": [{bias}], "n_probs": {len(ids)}, "post_sampling_probs": true}}

The answer's `completion_probabilities[0].top_probs` has the share of each, by `id`."""


def _parts_of_characters(exported: Exported) -> str:
    """Return how labels are asked whose tokens are parts of a character; "" if none is.

    llama.cpp sends no probabilities beside a token that is no text by itself, as those of rare Chinese characters are.
    """
    tokens = {token for trie in label_tries(exported).values() for path in trie.paths for _, token in path}
    if not any("\ufffd" in exported.tokenizer.decode([token]) for token in tokens):
        return ""
    letter = exported.encoder.encode_text("a")[-1]
    return f"""

Some tokens of labels here are parts of a character. llama.cpp answers without `completion_probabilities` where it
writes such a token. Let it write the letter a, and read the log-probabilities of all tokens, which are those before the
bias:

    {{"prompt": [1, 2, 3], "n_predict": 1, "temperature": 0, "logit_bias": [[{letter}, 1000]],
     "n_probs": {int(exported.model.config.vocab_size)}}}

The share of a token is exp(its `logprob`), divided by the sum of that over the tokens to compare."""


def special_tokens(exported: Exported) -> SpecialTokens:
    """Return the special tokens of what is exported."""
    tokenizer = exported.tokenizer
    named = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    before, _, _ = exported.encoder.frame()
    # A server of llama.cpp does not start with a template that its Jinja cannot read, and ChatGLM2's has an operator
    # ("//") that it does not know.
    is_read = exported.run.recipe.chat and exported.model.config.model_type != "chatglm"
    template: Any = tokenizer.chat_template if is_read else None
    return SpecialTokens(
        ids={name: int(number) for name, number in named.items() if number is not None},
        adds_begin=before == [tokenizer.bos_token_id],
        chat_template=template if isinstance(template, str) else None,
    )


def context_of(exported: Exported) -> int:
    """Return how many tokens the longest prompt and its answer have."""
    longest = [each.max_answer_tokens(exported.encoder) for each in exported.run.recipe.questions.values()]
    return int(exported.encoder.max_prompt_tokens + max(longest))
