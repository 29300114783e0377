"""Exports to vLLM: a model folder, or the base model and the adapter beside each other."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from papertune.errors import RunError
from papertune.exports.format import Exported, ExportFormat, check_plain_adapter
from papertune.exports.formats.gguf import context_of
from papertune.exports.formats.hub import converted, copy_adapter
from papertune.exports.gguf_files.writing import Weights
from papertune.run import Run

BASE_FOLDER, ADAPTER_FOLDER = "base", "adapter"
# What --max-lora-rank can be.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# Of so many tokens it gives log-probabilities without --max-logprobs.
_MAX_LOGPROBS = 20
# vLLM reads the first unguarded, and takes other values than the published ones where the others are missing.
_CHATGLM_KEYS = ("multi_query_attention", "multi_query_group_num", "add_qkv_bias", "seq_length")


class VllmExport(ExportFormat):
    """A folder that vLLM serves."""

    name: ClassVar[str] = "vllm"
    title: ClassVar[str] = "vLLM"
    weights: ClassVar[tuple[Weights, ...]] = ("bf16", "f16", "f32")
    tags: ClassVar[tuple[str, ...]] = ("vllm",)

    def default_weights(self, *, adapter: bool) -> Weights:
        """Return that of the model, which is written in either case; the adapter beside it stays in float32."""
        return self.weights[0]

    def check(self, run: Run, *, adapter: bool) -> None:
        """Check that vLLM reads an adapter that is to be written by itself."""
        if not adapter:
            return
        from papertune.methods import check_adapter

        config = check_adapter(run.directory.adapter)
        check_plain_adapter(run, config)
        if int(config["r"]) > _RANKS[-1]:
            raise RunError(
                f"{run.directory.path}: its adapter has rank {config['r']}, and vLLM reads adapters up to rank "
                f"{_RANKS[-1]}. Leave --adapter out: the merged model has all of it."
            )

    def write(self, exported: Exported, folder: Path) -> None:
        """Write the merged model, or the base model and the adapter."""
        model, place = exported.model, folder
        if exported.adapter:
            copy_adapter(exported.run, folder / ADAPTER_FOLDER)
            model, _ = exported.run.load_base("fp32")
            place = folder / BASE_FOLDER
        converted(model, exported.weights).save_pretrained(place)
        exported.tokenizer.save_pretrained(place)
        if model.config.model_type == "chatglm":
            _complete_chatglm(place / "config.json", model.config)

    def serving(self, exported: Exported, labels: Sequence[int]) -> str:
        """Return how vLLM is started and asked."""
        options, model = exported.name, exported.name
        if exported.adapter:
            from papertune.methods import check_adapter

            rank = int(check_adapter(exported.run.directory.adapter)["r"])
            fitting = next(each for each in _RANKS if each >= rank)
            options = (
                f"{exported.name}/{BASE_FOLDER} --enable-lora --lora-modules run={exported.name}/{ADAPTER_FOLDER} "
                f"--max-lora-rank {fitting}"
            )
            model = "run"
        allowed = [*labels] or [1, 2]
        if exported.model.config.model_type == "chatglm":
            return _CHATGLM.format(folder=exported.name, context=context_of(exported), allowed=allowed, n=len(allowed))
        many = f" --max-logprobs {len(labels)}" if len(labels) > _MAX_LOGPROBS else ""
        return f"""    vllm serve {options} --max-model-len {context_of(exported)} \\
        --generation-config vllm --logprobs-mode processed_logprobs{many}

`--generation-config vllm` keeps vLLM from the sampling settings of generation_config.json. Send a prompt as token ids,
with special tokens in their places:

    POST http://127.0.0.1:8000/v1/completions
    {{"model": "{model}", "prompt": [1, 2, 3], "max_tokens": 100, "temperature": 0}}
{_labels_request(model, labels) if labels else ""}"""


def _labels_request(model: str, ids: Sequence[int]) -> str:
    """Return how a token's share among some tokens is asked for."""
    return f"""
For labels, ask for the shares of their tokens:

    {{"model": "{model}", "prompt": [1, 2, 3], "max_tokens": 1, "temperature": 1,
     "allowed_token_ids": {list(ids)}, "logprobs": {len(ids)}, "return_tokens_as_token_ids": true}}

The answer's `choices[0].logprobs.top_logprobs[0]` has the logarithm of the share of each, by `token_id:NUMBER`."""


_CHATGLM = """vLLM has no tokenizer for ChatGLM2 without the model's own Python files, so it gets and returns token ids.
The tokenizer in this folder is papertune's: `from papertune.models.chatglm2 import ChatGLMTokenizer`.

    from vllm import LLM, SamplingParams
    model = LLM("{folder}", skip_tokenizer_init=True, max_model_len={context}, max_logprobs={n},
                logprobs_mode="processed_logprobs")
    settings = SamplingParams(temperature=1, max_tokens=1, allowed_token_ids={allowed}, logprobs={n}, detokenize=False)
    (found,) = model.generate([{{"prompt_token_ids": [1, 2, 3]}}], settings)

`found.outputs[0].logprobs[0]` has the logarithm of the share of each allowed token, by id. For a written answer take
temperature 0, no allowed_token_ids, and the tokens of `found.outputs[0].token_ids`."""


def _complete_chatglm(file: Path, config: object) -> None:
    """Write the keys of a ChatGLM2's config.json that vLLM needs and transformers leaves out as defaults."""
    values = json.loads(file.read_text("utf-8"))
    values |= {key: getattr(config, key) for key in _CHATGLM_KEYS} | {"original_rope": True}
    values["architectures"] = ["ChatGLMForConditionalGeneration"]
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
