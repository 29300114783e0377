"""When transformers' Auto classes have to know the models that are built here."""

from pathlib import Path


def register_own_models(*places: str | Path) -> None:
    """Let the Auto classes know our ChatGLM2, if one of these places may hold one.

    Importing it for every model would cost those a part of a second that do not need it.

    Args:
        places: Folders of a model or a tokenizer, or hub ids, whose files are not here yet.
    """
    if any(_may_be_chatglm(Path(place)) for place in places):
        import papertune.models.chatglm2  # noqa: F401 - registers itself


def _may_be_chatglm(folder: Path) -> bool:
    files = [file for name in ("config.json", "tokenizer_config.json") if (file := folder / name).is_file()]
    # "model_type": "chatglm" in the one, "tokenizer_class": "ChatGLMTokenizer" in the other.
    return not files or any(b"chatglm" in file.read_bytes().lower() for file in files)
