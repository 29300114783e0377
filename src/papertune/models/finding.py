"""Finding a base model: where its files are, and the checksum of its weights. Without torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from papertune.errors import ModelError, Sentence
from papertune.models.cache import cache_folder, converted_gguf, packaged_gguf
from papertune.models.known import KNOWN_MODELS

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True)
class Base:
    """A base model that has been found.

    Attributes:
        name: Its name in the recipe.
        location: A folder, or a hub id that transformers will download.
        checksum: SHA-256 of its weight files, or None for a hub id that is not on this machine.
    """

    name: str
    location: str
    checksum: str | None


def find_base(name: str, folder: Path | None = None) -> Base:
    """Find a base model.

    Args:
        name: A known name, a folder, a .gguf file or a hub id.
        folder: Its folder, if the name is out of date.

    Raises:
        ModelError: If there is no model.
    """
    if folder is not None:
        return _local(name, folder)
    if known := KNOWN_MODELS.get(name):
        gguf = packaged_gguf(known.package, known.gguf_name)
        return _local(name, gguf) if gguf else _hub(name, known.hub_id)
    if Path(name).exists():
        return _local(name, Path(name))
    return _hub(name, name)


def _local(name: str, path: Path) -> Base:
    if path.suffix == ".gguf" and path.is_file():
        checksum = weights_checksum([path])
        return Base(name, str(converted_gguf(path, checksum)), checksum)
    if not path.is_dir():
        text = f"{path}: there is no such folder or .gguf file. Name the folder that has the model's config.json."
        raise ModelError(Sentence(text, "no_model", name=name))
    if not (path / "config.json").is_file():
        inside = ", ".join(sorted(child.name for child in path.iterdir())[:8]) or "nothing"
        raise ModelError(f"{path} has no config.json, so it is not a model folder. It contains: {inside}.")
    weights = sorted(file for file in path.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
    if not weights:
        raise ModelError(f"{path} has a config.json but no weights ({', '.join(_WEIGHT_SUFFIXES)}). Download them too.")
    return Base(name, str(path), weights_checksum(weights))


def _hub(name: str, hub_id: str) -> Base:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, "config.json") if looks_like_hub_id(hub_id) else None
    if isinstance(config, str):
        weights = sorted(file for file in Path(config).parent.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
        if weights:
            return Base(name, str(Path(config).parent), weights_checksum(weights))
    if not looks_like_hub_id(hub_id):
        text = f'model "{name}" is not a known model ({", ".join(KNOWN_MODELS)}), a folder, a .gguf file or a hub id.'
        raise ModelError(Sentence(text, "no_model", name=name))
    return Base(name, hub_id, None)


def looks_like_hub_id(name: str) -> bool:
    """Whether a name has the form OWNER/MODEL, and not that of a path."""
    owner, slash, model = name.partition("/")
    is_path = name.startswith((".", "~", "/")) or name.endswith(".gguf") or "/" in model
    return bool(slash and owner and model) and not is_path


def weights_checksum(files: list[Path]) -> str:
    """Return the SHA-256 of the content of weight files, in this order.

    Reading gigabytes takes a while, so the checksum is cached by path, size and modification time.
    """
    stamps = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    cached = cache_folder() / "checksums" / key
    if cached.is_file() and len(text := cached.read_text()) == 64:
        return text
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(total.hexdigest())
    except OSError:
        pass  # the cache only saves time
    return total.hexdigest()
