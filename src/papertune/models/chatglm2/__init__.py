"""ChatGLM2, as ordinary transformers classes.

Importing this package registers them: AutoConfig, AutoModel, AutoModelForCausalLM and AutoTokenizer then use them for a
published folder. The folder's own Python files are not run, even with `trust_remote_code`.
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


class _TokenizerPlaceholder(ChatGLMConfig):
    """A configuration that no model has.

    With `trust_remote_code` transformers prefers the folder's own code to a tokenizer that is registered for the
    folder's configuration, but not to one that it finds by its name alone.
    """


AutoConfig.register(ChatGLMConfig.model_type, ChatGLMConfig, exist_ok=True)
AutoModel.register(ChatGLMConfig, ChatGLMForConditionalGeneration, exist_ok=True)
AutoModelForCausalLM.register(ChatGLMConfig, ChatGLMForConditionalGeneration, exist_ok=True)
AutoTokenizer.register(_TokenizerPlaceholder, ChatGLMTokenizer, exist_ok=True)
