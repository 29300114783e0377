import pytest
import torch

from papertune.errors import ModelError
from papertune.models.cpu import CpuFeatures, adds_int8_in_32_bits, cpu_features
from papertune.models.quantization.int8 import max_int8_weight


@pytest.fixture
def capabilities(monkeypatch):
    """A function that sets the instructions that torch reports for the CPU."""

    def set_capabilities(*names):
        found = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, **dict.fromkeys(names, True)}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)

    monkeypatch.delenv("PAPERTUNE_CPU", raising=False)
    return set_capabilities


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
def test_features_that_torch_reports(capabilities, names, bf16, int8):
    capabilities(*names)
    assert cpu_features() == CpuFeatures(bf16, int8)
    assert adds_int8_in_32_bits() is int8
    assert max_int8_weight() == (127 if int8 else 64)


@pytest.mark.parametrize(
    ("setting", "bf16", "int8"),
    [("none", False, False), ("bf16,int8", True, True), (" int8 ", False, True), ("bf16", True, False)],
)
def test_variable_overrides_torch(capabilities, monkeypatch, setting, bf16, int8):
    for names in ((), ("avx512_bf16", "avx512_vnni")):
        capabilities(*names)
        monkeypatch.setenv("PAPERTUNE_CPU", setting)
        assert cpu_features() == CpuFeatures(bf16, int8)
        # The sums of a CPU without the instructions would overflow even with the variable.
        assert adds_int8_in_32_bits() is (int8 and bool(names))


def test_no_int8_without_onednn(capabilities, monkeypatch):
    capabilities("avx512_vnni")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not cpu_features().int8
    monkeypatch.setenv("PAPERTUNE_CPU", "int8")
    assert not cpu_features().int8


def test_misspelt_variable(monkeypatch):
    monkeypatch.setenv("PAPERTUNE_CPU", "bf16,avx")
    with pytest.raises(ModelError, match=r'^PAPERTUNE_CPU=bf16,avx: "avx" is unknown\. Set it to none, bf16, int8 or'):
        cpu_features()
