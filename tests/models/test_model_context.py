import pytest
from transformers import AutoConfig, GPT2Config, LlamaConfig, MambaConfig

from papertune.models import context_tokens
from papertune.models.chatglm2.configuration import ChatGLMConfig


def llama(**rope):
    return LlamaConfig(max_position_embeddings=1024, rope_parameters={"rope_theta": 1e4, **rope} if rope else None)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        (llama(), 1024),
        (GPT2Config(n_positions=512), 512),
        (ChatGLMConfig(seq_length=256), 256),
        (MambaConfig(), None),
        (AutoConfig.for_model("mpt", max_seq_len=300), 300),
        (llama(rope_type="linear", factor=2.0), 2048),
        (llama(rope_type="dynamic", factor=4.0), 4096),
        (llama(rope_type="yarn", factor=4.0, original_max_position_embeddings=1024), 4096),
        (llama(rope_type="yarn", factor=4.0, original_max_position_embeddings=256), 1024),
        (
            llama(
                rope_type="llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=128,
            ),
            1024,
        ),
    ],
)
def test_the_context_is_what_the_configuration_states(config, context):
    assert context_tokens(config) == context


def test_the_longest_of_several_scalings_counts():
    config = llama()
    config.rope_parameters = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    assert context_tokens(config) == 8192


def test_the_text_part_of_a_configuration_counts():
    config = AutoConfig.for_model("gemma3", text_config={"max_position_embeddings": 700})
    assert context_tokens(config) == 700
