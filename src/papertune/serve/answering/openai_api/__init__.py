"""OpenAI's API, answered by runs."""

from papertune.serve.answering.openai_api.routes import router

__all__ = ["router"]
