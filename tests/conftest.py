"""What all tests share: a tiny model, fixed seeds, no network, a cache folder of their own.

The tiny model is two Llama layers with random weights beside a byte-level tokenizer, which encodes any text without
loss. Its folder looks like one from the hub: config, safetensors, tokenizer, a ChatML template with a default system
message. `<|im_start|>`, `<|im_end|>` and `<|pad|>` are special tokens; `<|user|>` is an added token that is not marked
special, as some models have them.
"""

import os

# Tiny matrices: a second thread only gets in the way. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read once, when huggingface_hub is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import copy
import gc
import ipaddress
import itertools
import json
import random
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in each run; `--hypothesis-profile search` looks for new ones.
settings.register_profile("papertune", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("search", deadline=None, database=None, max_examples=1000)
# `make fuzz`: for tests/fuzz.
settings.register_profile("fuzz", deadline=None, database=None, max_examples=10_000, print_blob=True)
# `make test-fast`: the first examples of each test.
settings.register_profile("fast", deadline=None, derandomize=True, database=None, max_examples=10)
settings.load_profile("papertune")

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou read papers.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What the tokenizer learns its merges from.
SENTENCES = [
    "title: the effect of aspirin on the heart, a randomised trial in patients",
    "abstract: we study the learning of graphs with neural networks; the method is fast",
    "Is this a medical paper? Answer 1 or 0. List the keywords of this paper, separated by semicolons.",
    "system user assistant You read papers.",
]


class Recorder:
    """A listener that keeps what it gets.

    Args:
        on_training: Called with each training step.
        on_rows: Called with the progress after each batch of rows.
    """

    def __init__(
        self, on_training: Callable[[Any], object] | None = None, on_rows: Callable[[Any], object] | None = None
    ) -> None:
        self.messages: list[str] = []
        self.steps: list[Any] = []
        self.logged: list[Any] = []
        self._actions = {"training": on_training, "rows": on_rows}

    def message(self, text: str) -> None:
        self.messages.append(text)

    def progress(self, step: Any) -> None:
        self.steps.append(step)
        if (act := self._actions[step.stage]) is not None:
            act(step)

    def metrics(self, step: int, values: Any) -> None:
        self.logged.append({"step": step, **values})


_frozen_modules = 0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the suite run as on a CPU of another kind: `--cpu none`, `--cpu bf16,int8`."""
    parser.addoption("--cpu", help="what the CPU is taken to compute fast: none, or bf16,int8")


def pytest_configure(config: pytest.Config) -> None:
    """Set for this process, and all that it starts, what the CPU computes fast, and where compiled code is kept."""
    if (setting := config.getoption("--cpu")) is not None:
        os.environ["PAPERTUNE_CPU"] = setting
    # Not in the tests' own cache folder, where each run of the suite would compile it again.
    if (kept := getattr(config, "cache", None)) is not None:
        os.environ.setdefault("NUMBA_CACHE_DIR", str(kept.mkdir("compiled")))


class NetworkBlocked(RuntimeError):
    """A test has reached for the network. Not an OSError, which libraries would take for a bad connection."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that at the end no process is left alone with one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def generates_ids() -> Callable[[list[int]], Any]:
    """Make a forward hook for an output layer: the model generates these ids after any prompt, again and again."""

    def make(ids: list[int]) -> Any:
        import torch

        asked = itertools.count()

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            logits = torch.zeros_like(output)
            logits[:, ids[next(asked) % len(ids)]] = 1
            return logits

        return hook

    return make


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Block the network and slow packages, and give the tests a cache folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        # To count the hidden objects of imports takes 60 ms, and each training asks whether there are some.
        patch.setattr(gc, "get_freeze_count", lambda: 1)
        # It waits for the disk, some milliseconds. The processes of tests/flows wait for it.
        patch.setattr(os, "fsync", lambda _descriptor: None)
        # They take half a minute to import, and SetFit minutes to train: only their own tests use them.
        for name in ("keybert", "setfit"):
            patch.setitem(sys.modules, name, None)
        patch.setenv("PAPERTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _local_names_only(socket.getaddrinfo))
        yield


def _local_only(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            raise NetworkBlocked(f"a test has reached for {address}")
        return connect(self, address)

    return guarded


def _local_names_only(getaddrinfo: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        if host is not None and not _is_local(host):
            raise NetworkBlocked(f"a test has looked up {host}")
        return getaddrinfo(host, *arguments, **options)

    return guarded


def _is_local(host: str | bytes) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("", "localhost")


@pytest.fixture(autouse=True)
def _imports_are_no_garbage() -> None:
    """Keep what was imported out of garbage collections: each training asks for one, and it took half a second."""
    global _frozen_modules
    if len(sys.modules) > _frozen_modules + 50:
        gc.collect()
        gc.freeze()
        _frozen_modules = len(sys.modules)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Start each test from the same random numbers; libraries that nobody has imported are left alone."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module")
def plots_in_words() -> Iterator[None]:
    """Draw no plots in reports, which takes 0.15 s each: only their descriptions are there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("papertune.evaluation.report.plots._svg", lambda _draw, description, **_: f"<p>{description}</p>")
        yield


@pytest.fixture
def listener() -> Recorder:
    """Return a listener that keeps what it gets."""
    return Recorder()


@pytest.fixture(scope="session")
def make_listener() -> type[Recorder]:
    """Return a maker of such listeners, which may act on each training step or batch of rows."""
    return Recorder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny model and its tokenizer. Copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = make_tiny_tokenizer()
    make_tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model whose matrices are 64 and 128 wide, as 4-bit weights want them."""
    folder = tmp_path_factory.mktemp("models") / "wide"
    tokenizer = make_tiny_tokenizer()
    make_tiny_model(tokenizer, width=64).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny sentence encoder: a BERT of two layers, mean pooling, 16 tokens a text."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    make_tiny_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def _tiny(tiny_folder: Path) -> tuple[Any, Any]:
    from papertune.models import load_model

    return load_model(tiny_folder, precision="fp32", device="cpu")


@pytest.fixture(scope="session")
def tiny_model(_tiny: tuple[Any, Any]) -> Any:
    """Return the tiny model in float32, for reading only: `own_tiny_model` is for tests that change it."""
    return _tiny[0]


@pytest.fixture(scope="session")
def tiny_tokenizer(_tiny: tuple[Any, Any]) -> Any:
    """Return the tiny model's tokenizer."""
    return _tiny[1]


@pytest.fixture
def own_tiny_model(tiny_model: Any) -> Any:
    """Return a copy of the tiny model that a test may train or wrap."""
    return copy.deepcopy(tiny_model)


@pytest.fixture(scope="session")
def make_model(tiny_tokenizer: Any) -> Callable[..., Any]:
    """Return a function that makes models like the tiny one, with other numbers of layers or other weights."""
    return lambda *, layers=2, seed=0: make_tiny_model(tiny_tokenizer, layers=layers, seed=seed)


def make_tiny_tokenizer() -> Any:
    """Make a byte-level BPE tokenizer of 256 bytes, some merges and the added tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    bpe.add_tokens([AddedToken("<|user|>", special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def make_tiny_model(tokenizer: Any, *, layers: int = 2, seed: int = 0, width: int = 32) -> Any:
    """Make a Llama of few dimensions with random weights large enough that its answers differ from row to row."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=48 if width == 32 else 2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def make_tiny_encoder(folder: Path) -> None:
    """Write a sentence encoder with random weights in the layout of sentence-transformers."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = sorted({word for sentence in SENTENCES for word in sentence.lower().split() if word.isalpha()})
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    folder.mkdir()
    BertTokenizerFast(vocab={token: number for number, token in enumerate(dict.fromkeys(vocabulary))}).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    modules = [
        {"idx": number, "name": str(number), "type": f"sentence_transformers.models.{name}", "path": path}
        for number, (name, path) in enumerate(
            (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
        )
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}'
    )
