"""ChatGLM2, as ordinary transformers classes.

Importing this registers them: AutoConfig, AutoModel, AutoModelForCausalLM and AutoTokenizer then take them for a
published folder, whose own Python files are not run, whatever `trust_remote_code` says.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from papertune.models.chatglm2.configuration import ChatGLMConfig
from papertune.models.chatglm2.modeling import ChatGLMForConditionalGeneration, ChatGLMModel
from papertune.models.chatglm2.tokenization import ChatGLMTokenizer, process_response

__all__ = [
    "ChatGLMConfig",
    "ChatGLMForConditionalGeneration",
    "ChatGLMModel",
    "ChatGLMTokenizer",
    "process_response",
]


class _ByNameAlone(ChatGLMConfig):
    """Stands for no model.

    A tokenizer that is registered for the configuration of the folder gives way to the folder's own code where
    `trust_remote_code` is set; one that is only known by its name does not.
    """


AutoConfig.register(ChatGLMConfig.model_type, ChatGLMConfig, exist_ok=True)
AutoModel.register(ChatGLMConfig, ChatGLMForConditionalGeneration, exist_ok=True)
AutoModelForCausalLM.register(ChatGLMConfig, ChatGLMForConditionalGeneration, exist_ok=True)
AutoTokenizer.register(_ByNameAlone, ChatGLMTokenizer, exist_ok=True)
