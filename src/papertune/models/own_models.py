"""Registering papertune's own model classes with transformers' Auto classes, when they are needed."""

from pathlib import Path


def register_own_models(*places: str | Path) -> None:
    """Register papertune's ChatGLM2 with the Auto classes if one of these places may be a ChatGLM2.

    It is not imported for other models, because that takes a fraction of a second.

    Args:
        places: Folders of a model or a tokenizer, or hub ids, which may be anything.
    """
    if any(_may_be_chatglm(Path(place)) for place in places):
        import papertune.models.chatglm2  # noqa: F401 - registers itself


def _may_be_chatglm(folder: Path) -> bool:
    files = [file for name in ("config.json", "tokenizer_config.json") if (file := folder / name).is_file()]
    # "model_type": "chatglm" in the first, "tokenizer_class": "ChatGLMTokenizer" in the second.
    return not files or any(b"chatglm" in file.read_bytes().lower() for file in files)
