import pytest
import torch

from papertune.errors import ModelError
from papertune.models.cpu import CpuFeatures, adds_int8_in_32_bits, cpu_features
from papertune.models.quantization.int8 import largest_weight


@pytest.fixture
def capabilities(monkeypatch):
    """Give a function that makes torch say which instructions the CPU has."""

    def has(*names):
        found = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, **dict.fromkeys(names, True)}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)

    monkeypatch.delenv("PAPERTUNE_CPU", raising=False)
    return has


@pytest.mark.parametrize(
    ("names", "bf16", "int8"),
    [
        ((), False, False),
        (("avx512_bf16", "avx512_vnni"), True, True),
        (("amx_bf16", "amx_int8"), True, True),
        (("avx_vnni",), False, True),
        (("bf16",), True, False),  # Arm
    ],
)
def test_torch_is_asked(capabilities, names, bf16, int8):
    capabilities(*names)
    assert cpu_features() == CpuFeatures(bf16, int8)
    assert adds_int8_in_32_bits() is int8
    assert largest_weight() == (127 if int8 else 64)


@pytest.mark.parametrize(
    ("setting", "bf16", "int8"),
    [("none", False, False), ("bf16,int8", True, True), (" int8 ", False, True), ("bf16", True, False)],
)
def test_the_variable_comes_first(capabilities, monkeypatch, setting, bf16, int8):
    for names in ((), ("avx512_bf16", "avx512_vnni")):
        capabilities(*names)
        monkeypatch.setenv("PAPERTUNE_CPU", setting)
        assert cpu_features() == CpuFeatures(bf16, int8)
        # The sums of a CPU without the instructions would overflow, whatever it is told.
        assert adds_int8_in_32_bits() is (int8 and bool(names))


def test_without_onednn_there_is_no_int8(capabilities, monkeypatch):
    capabilities("avx512_vnni")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not cpu_features().int8
    monkeypatch.setenv("PAPERTUNE_CPU", "int8")
    assert not cpu_features().int8


def test_a_misspelt_variable_is_one_message(monkeypatch):
    monkeypatch.setenv("PAPERTUNE_CPU", "bf16,avx")
    with pytest.raises(ModelError, match=r'^PAPERTUNE_CPU=bf16,avx: "avx" is unknown\. Set it to none, bf16, int8 or'):
        cpu_features()
