import json

import numpy as np
import pytest
import torch

from papertune import load_run
from papertune.errors import ModelError
from papertune.exports.export import export
from papertune.exports.gguf_files.architecture import Llama, architecture_of
from papertune.exports.gguf_files.vocabulary import vocabulary_of
from papertune.inference.merge import merged_model

TEXTS = ["a  12", "x\n\n12", "基于 2 <|im_end|>", "Café: naïve", "don't  stop\t!", "title: the effect of aspirin 2020"]


@pytest.fixture(scope="module")
def merged(run):
    """Return the run's merged model."""
    return merged_model(load_run(run, device="cpu"), "fp32")[0]


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory, tiny_tokenizer):
    """Return the folder of a tiny Qwen2 whose tokenizer splits as Qwen2's; its output layer is the embedding."""
    from tokenizers import Regex, pre_tokenizers
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    folder = tmp_path_factory.mktemp("models") / "qwen2"
    tiny_tokenizer.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    pairs = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pairs])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=416,  # more than there are tokens, as in the published models
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("bias"):
                tensor.normal_()
    model.save_pretrained(folder)
    return folder


def tensors(path):
    """Return the tensors of a file: their kind, bytes and numbers."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    return {
        each.name: (each.tensor_type.name, np.array(each.data), dequantize(each.data, each.tensor_type))
        for each in GGUFReader(path).tensors
    }


def halves_of_pairs(numbers, heads):
    """Move the rows of each head from llama.cpp's pairs to transformers' halves, one by one."""
    size = len(numbers) // heads
    moved = np.empty_like(numbers)
    for head in range(heads):
        for pair in range(size // 2):
            for half in range(2):
                moved[head * size + half * (size // 2) + pair] = numbers[head * size + 2 * pair + half]
    return moved


def q8_0(rows):
    """Quantize 32 numbers at a time, plainly: a scale in float16, and integers of it."""
    stored = b""
    for block in rows.reshape(-1, 32):
        scale = np.float32(np.abs(block).max()) / np.float32(127)
        inverse = np.float32(0) if scale == 0 else np.float32(1) / scale
        scaled = block * inverse
        whole = np.where(scaled < 0, -np.floor(-scaled + np.float32(0.5)), np.floor(scaled + np.float32(0.5)))
        stored += np.float16(scale).tobytes() + whole.astype(np.int8).tobytes()
    return stored


@pytest.mark.parametrize("weights", ["f32", "f16", "bf16", "q8_0"])
def test_each_number_is_the_merged_models_in_the_format(run, merged, tmp_path, weights):
    export(run, tmp_path / "out", to="gguf", weights=weights)
    found = tensors(tmp_path / "out" / "model.gguf")
    names = {"self_attn.q_proj": ("attn_q", 4), "self_attn.k_proj": ("attn_k", 2), "self_attn.v_proj": ("attn_v", 0)}
    names |= {"self_attn.o_proj": ("attn_output", 0), "mlp.gate_proj": ("ffn_gate", 0), "mlp.up_proj": ("ffn_up", 0)}
    names |= {"mlp.down_proj": ("ffn_down", 0), "input_layernorm": ("attn_norm", 0)}
    names |= {"post_attention_layernorm": ("ffn_norm", 0)}
    expected = {"token_embd.weight": ("model.embed_tokens.weight", 0), "output.weight": ("lm_head.weight", 0)}
    expected |= {"output_norm.weight": ("model.norm.weight", 0)}
    for layer in range(2):
        for name, (own, heads) in names.items():
            expected[f"blk.{layer}.{own}.weight"] = (f"model.layers.{layer}.{name}.weight", heads)
    assert found.keys() == expected.keys()
    state = merged.state_dict()
    for own, (name, heads) in expected.items():
        kind, stored, numbers = found[own]
        tensor = state[name]
        plain = tensor.ndim < 2 or (weights == "q8_0" and tensor.shape[-1] % 32 != 0)
        assert kind == ("F32" if plain else weights.upper())
        if heads:
            numbers, stored = halves_of_pairs(numbers, heads), halves_of_pairs(stored, heads)
        if kind == "Q8_0":
            assert stored.tobytes() == q8_0(tensor.numpy())
        else:
            dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
            assert np.array_equal(numbers, tensor.to(dtype).float().numpy())


def test_transformers_reads_the_same_model_and_tokenizer(run, merged, tiny_tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    export(run, tmp_path / "out", to="gguf", weights="f32")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", gguf_file="model.gguf", dtype=torch.float32)
    ids = torch.tensor([tiny_tokenizer.encode("title: the effect of aspirin")])
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, merged(ids).logits, atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", gguf_file="model.gguf")
    for text in TEXTS:
        assert tokenizer.encode(text) == tiny_tokenizer.encode(text)
    assert tokenizer.chat_template == tiny_tokenizer.chat_template
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|pad|>")


class TestLlamaCpp:
    """What llama.cpp itself computes."""

    @pytest.mark.parametrize(("weights", "limit"), [("f16", 0.01), ("bf16", 0.1), ("q8_0", 0.1)])
    def test_it_gives_the_runs_probabilities(self, run, differences, tmp_path, weights, limit):
        export(run, tmp_path / "out", to="gguf", weights=weights)
        found = differences(tmp_path / "out" / "check.json", tmp_path / "out" / "model.gguf")
        assert len(found) == 20
        assert max(found) < limit

    def test_text_has_the_tokens_of_the_run(self, run, llama_cpp, tmp_path):
        export(run, tmp_path / "out", to="gguf", weights="f32")
        prompts = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))["prompts"]
        readable = [each for each in prompts if each["prompt_text"] is not None]
        assert len(readable) == 19  # one paper has the text of a special token
        tokens = [list(map(int, each["next"][0]["log_probabilities"])) for each in readable]
        by_ids, by_text = (
            llama_cpp(
                tmp_path / "out" / "model.gguf",
                [{"prompt": each[key], "tokens": own} for each, own in zip(readable, tokens, strict=True)],
            )
            for key in ("prompt_ids", "prompt_text")
        )
        assert np.allclose(by_ids, by_text, atol=1e-3)

    def test_labels_whose_tokens_are_parts_of_a_character(self, make_run, tiny_folder, llama_cpp, tmp_path):
        columns = {"label": {"kind": "label", "question": "Which?", "labels": ["医学", "哲学"]}}
        path = make_run(tiny_folder, changes={"columns": columns})
        export(path, tmp_path / "out", to="gguf")
        page = (tmp_path / "out" / "ANSWERS.md").read_text("utf-8")
        ids = load_run(path).load_tokenizer().get_vocab()
        request = f'"logit_bias": [[{ids["a"]}, 1000]],\n     "n_probs": {len(ids)}}}'
        assert request in page
        prompts = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))["prompts"]
        # Both begin with the same byte; after it there is one decision, so its shares are the probabilities.
        assert all(len(each["next"]) == 1 and len(each["next"][0]["after_ids"]) == 1 for each in prompts)
        more = {"letter": ids["a"], "vocabulary": len(ids)}
        asked = [
            {
                "prompt": each["prompt_ids"] + step["after_ids"],
                "tokens": list(map(int, step["log_probabilities"])),
                **more,
            }
            for each in prompts
            for step in each["next"]
        ]
        shares = llama_cpp(tmp_path / "out" / "model.gguf", asked)
        wanted = [sorted(each["probabilities"].values()) for each in prompts]
        assert np.allclose(np.sort(shares, axis=1), wanted, atol=0.01)

    def test_an_adapter_beside_its_base_model_is_the_merged_model(self, make_run, tiny_folder, differences, tmp_path):
        path = make_run(tiny_folder, use_rslora=True, changes={"method": {"rslora": True}})
        export(path, tmp_path / "out", to="gguf", adapter=True, weights="f16")
        assert tensors(tmp_path / "out" / "adapter.gguf")["blk.0.attn_q.weight.lora_a"][0] == "F16"
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
            "ANSWERS.md", "README.md", "adapter.gguf", "check.json",
        ]  # fmt: skip
        # The base alone, as a file: a run whose adapter adds nothing.
        plain = make_run(tiny_folder, init_lora_weights=True)
        export(plain, tmp_path / "base", to="gguf", weights="f32")
        base, adapter = tmp_path / "base" / "model.gguf", tmp_path / "out" / "adapter.gguf"
        assert max(differences(tmp_path / "out" / "check.json", base, lora=adapter)) < 0.01
        assert max(differences(tmp_path / "out" / "check.json", base)) > 0.1

    def test_qwen2(self, make_run, qwen_folder, differences, tmp_path):
        export(make_run(qwen_folder), tmp_path / "out", to="gguf")
        found = tensors(tmp_path / "out" / "model.gguf")
        assert "output.weight" not in found
        assert found["blk.0.attn_q.bias"][0] == "F32"
        assert max(differences(tmp_path / "out" / "check.json", tmp_path / "out" / "model.gguf")) < 0.01

    def test_the_frequencies_of_llama_3(self, make_run, tiny_folder, differences, tmp_path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(tiny_folder)
        rope = {"rope_type": "llama3", "rope_theta": 5000.0, "factor": 8.0, "low_freq_factor": 1.0}
        rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 32}
        model.config.rope_parameters = rope
        model.save_pretrained(tmp_path / "model")
        AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(tmp_path / "model")
        export(make_run(tmp_path / "model"), tmp_path / "out", to="gguf", weights="f32")
        assert "rope_freqs.weight" in tensors(tmp_path / "out" / "model.gguf")
        assert max(differences(tmp_path / "out" / "check.json", tmp_path / "out" / "model.gguf")) < 0.01


def test_an_adapter_of_rslora_has_the_alpha_of_its_scale(make_run, tiny_folder, tmp_path):
    from gguf import GGUFReader

    path = make_run(tiny_folder, use_rslora=True, changes={"method": {"rslora": True}})
    export(path, tmp_path / "out", to="gguf", adapter=True)
    reader = GGUFReader(tmp_path / "out" / "adapter.gguf")
    assert reader.get_field("adapter.lora.alpha").contents() == 16.0  # 8 x sqrt(4), which llama.cpp divides by 4
    assert reader.get_field("general.type").contents() == "adapter"
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32"}


def test_another_architecture_is_an_error_with_the_way_round_it():
    from transformers import GPT2Config

    with pytest.raises(ModelError) as caught:
        architecture_of(GPT2Config())
    assert str(caught.value) == (
        "a model of type gpt2 cannot be written as a .gguf file, only llama, qwen2, chatglm. "
        "Export it with --to vllm or --to hub instead."
    )


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ({"hidden_act": "gelu"}, 'hidden_act = "gelu"'),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}}, 'rope_type = "yarn"'),
    ],
)
def test_settings_that_llama_cpp_does_not_compute(tiny_model, setting, shown):
    from transformers import LlamaConfig

    config = LlamaConfig(**setting)
    with pytest.raises(ModelError) as caught:
        Llama(config).check()
    assert str(caught.value) == (
        f"the model has {shown}, which llama.cpp's llama does not compute. "
        "Export it with --to vllm or --to hub instead."
    )


class TestVocabulary:
    """Which rules of llama.cpp are found."""

    def test_digits_that_stand_alone(self, tiny_tokenizer):
        import copy

        from tokenizers import pre_tokenizers

        tokenizer = copy.deepcopy(tiny_tokenizer)
        assert vocabulary_of(tokenizer, 410).splitting == "gpt-2"
        digits, pairs = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pairs])
        assert vocabulary_of(tokenizer, 410).splitting == "smollm"
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pairs, digits])
        with pytest.raises(ModelError) as caught:
            vocabulary_of(tokenizer, 410)
        assert str(caught.value) == (
            "the tokenizer splits text as no rule does that is known here for .gguf files. "
            "Export it with --to vllm or --to hub instead."
        )

    def test_added_tokens_are_control_tokens_and_ids_without_a_token_are_unused(self, tiny_tokenizer):
        found = vocabulary_of(tiny_tokenizer, 410)
        ids = tiny_tokenizer.get_vocab()
        assert {found.kinds[ids[name]] for name in ("<|im_start|>", "<|user|>", "<|pad|>")} == {3}
        assert found.kinds[ids["a"]] == 1
        assert (found.tokens[409], found.kinds[409]) == ("[PAD409]", 5)
        assert len(found.tokens) == len(found.kinds) == 410

    def test_more_tokens_than_the_model_has(self, tiny_tokenizer):
        with pytest.raises(ModelError) as caught:
            vocabulary_of(tiny_tokenizer, 300)
        last = len(tiny_tokenizer) - 1
        assert str(caught.value) == (
            f"the tokenizer has a token with id {last}, but the model has only 300. "
            "Export it with --to vllm or --to hub instead."
        )


@pytest.mark.parametrize("to", ["gguf", "hub", "vllm"])
def test_a_number_too_large_for_float16(run, tmp_path, monkeypatch, to):
    from papertune.exports.gguf_files import writing

    monkeypatch.setattr(writing, "_MAX_F16", 0.5)
    with pytest.raises(ModelError, match=r"has the number \d.*, and float16 ends at 0.5. Export with --weights bf16."):
        export(run, tmp_path / "out", to=to, weights="f16")
    assert list(tmp_path.iterdir()) == []
