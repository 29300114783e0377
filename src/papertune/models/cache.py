"""The cache folder, and in it .gguf files converted to folders that load fast.

Unpacking a .gguf file takes 8 seconds, so it is converted only once. Processes that start together
share the work: one converts into a temporary folder under a lock, and renames it at the end.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from papertune.errors import ModelError

GGUF_DTYPE = "bfloat16"
# Raised when the conversion changes, so that folders from before are not used: 2 splits digits as the file says.
_CONVERSION = 2


def cache_folder() -> Path:
    """Return the folder for what can be recreated: `PAPERTUNE_CACHE`, or papertune in the user's cache directory."""
    chosen = os.environ.get("PAPERTUNE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "papertune"


def packaged_gguf(package: str, file_name: str) -> Path | None:
    """Return the .gguf file in an installed package, or None. The package is not imported."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / file_name).is_file():
            return path
    return None


def converted_gguf(gguf: Path, checksum: str) -> Path:
    """Return a folder with the model of a .gguf file as safetensors; the first call converts it.

    Args:
        gguf: The file.
        checksum: Checksum of the file, which names the folder.

    Raises:
        ModelError: If transformers cannot read the file, or the cache folder is not writable.
    """
    folder = cache_folder() / f"{gguf.stem}-{checksum[:12]}-{_CONVERSION}"
    if folder.is_dir():
        return folder
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _convert(gguf, folder)
    except OSError as error:
        raise ModelError(
            f"{folder.parent}: the converted model cannot be written there ({error.strerror or error}). "
            "Set PAPERTUNE_CACHE to a folder with room for it."
        ) from error
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    from papertune.models.tokenizers.gguf import mend_splitting

    logging.disable_progress_bar()
    unfinished = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    with _parsed_once():
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            with _without_gguf_bar():
                model = AutoModelForCausalLM.from_pretrained(
                    gguf.parent,
                    gguf_file=gguf.name,
                    quantization_config=GgufConfig(dequantize=True),
                    dtype=GGUF_DTYPE,
                )
        except (OSError, ValueError, KeyError, RuntimeError) as error:  # OSError: the caller would report a full disk
            raise ModelError(f"{gguf}: transformers cannot read this .gguf file: {error}") from error
        mend_splitting(tokenizer, gguf)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(folder)


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Parse a .gguf file once, and list the tensors of its architecture once.

    transformers parses the vocabulary for the configuration, the tokenizer and the weights, and makes the list for each
    module of the model.
    """
    import gguf

    reader, tensors = gguf.GGUFReader, gguf.get_tensor_name_map
    parsed = cache(reader)
    gguf.GGUFReader = lambda path: parsed(str(path))
    gguf.get_tensor_name_map = cache(tensors)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, tensors


@contextmanager
def _without_gguf_bar() -> Iterator[None]:
    """Hide the bar of transformers' GGUF reader, which takes tqdm itself and does not heed `disable_progress_bar`."""
    from transformers import modeling_gguf_pytorch_utils as reader

    bar = reader.tqdm
    reader.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        reader.tqdm = bar
