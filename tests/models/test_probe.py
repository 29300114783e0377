import gguf, json, time, pytest
from papertune.models import load_model, find_base
from transformers.models.gpt2.tokenization_gpt2 import *
def test_probe(tiny_model, tiny_tokenizer, tmp_path):
    config = tiny_model.config
    path = tmp_path / "tiny.gguf"
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(config.num_hidden_layers); w.add_context_length(4096); w.add_embedding_length(32)
    w.add_feed_forward_length(48); w.add_head_count(4); w.add_head_count_kv(2); w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_rope_freq_base(10000.0); w.add_vocab_size(config.vocab_size); w.add_rope_dimension_count(8)
    body = json.loads(tiny_tokenizer.backend_tokenizer.to_str())
    vocab = tiny_tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("smollm")
    w.add_token_list(tokens)
    w.add_token_types([3 if i in tiny_tokenizer.added_tokens_decoder else 1 for i in range(len(tokens))])
    w.add_token_merges([" ".join(m) for m in body["model"]["merges"]])
    w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, tensor in tiny_model.state_dict().items():
        new = names.get_name(name, try_suffixes=(".weight",))
        value = tensor
        if "q_proj" in name or "k_proj" in name:
            heads = 4 if "q_proj" in name else 2
            value = tensor.reshape(heads, 2, -1, 32).transpose(1,2).reshape(tensor.shape)
        w.add_tensor(new, value.contiguous().numpy())
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    t=time.time()
    model, tok = load_model(str(path), precision="fp32")
    print("took", time.time()-t, tok.chat_template, type(tok), tok.eos_token_id, tok.added_tokens_decoder)
    import torch
    print(max((a-b).abs().max() for a,b in zip(model.state_dict().values(), tiny_model.state_dict().values())))
    print([ (k, (a-b).abs().max().item()) for (k,a),b in zip(model.state_dict().items(), tiny_model.state_dict().values())])
    print(tok.encode("the heart <x 漢") == tiny_tokenizer.encode("the heart <x 漢"), tok.encode("the heart <x 漢"))
