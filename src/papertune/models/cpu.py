"""What this machine's CPU computes fast. No other module asks torch about the CPU.

The environment variable PAPERTUNE_CPU overrides it: "none", or names of `CpuFeatures` joined by commas, such as
"bf16,int8". With it a run predicts as it would on another kind of machine.
"""

import os
from dataclasses import dataclass

import torch

from papertune.errors import ModelError

VARIABLE = "PAPERTUNE_CPU"

# torch's names of instructions of x86 and Arm.
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")


@dataclass(frozen=True)
class CpuFeatures:
    """Which products a CPU has instructions for.

    Attributes:
        bf16: Products of bfloat16 numbers.
        int8: Products of 8-bit integers, added up in 32 bits.
    """

    bf16: bool
    int8: bool


def cpu_features() -> CpuFeatures:
    """Return what the CPU computes fast, or the value of PAPERTUNE_CPU.

    Raises:
        ModelError: If PAPERTUNE_CPU contains an unknown name.
    """
    setting = os.environ.get(VARIABLE, "").strip()
    if not setting:
        capabilities = torch.cpu.get_capabilities()
        return CpuFeatures(
            bf16=any(capabilities.get(name, False) for name in _BFLOAT16),
            int8=any(capabilities.get(name, False) for name in _INT8) and has_onednn(),
        )
    names = set() if setting == "none" else {name.strip() for name in setting.split(",")}
    if unknown := sorted(names - {"bf16", "int8"}):
        raise ModelError(f'{VARIABLE}={setting}: "{unknown[0]}" is unknown. Set it to none, bf16, int8 or bf16,int8.')
    return CpuFeatures(bf16="bf16" in names, int8="int8" in names and has_onednn())


def adds_int8_in_32_bits() -> bool:
    """Whether sums of 8-bit products are exact for all numbers; PAPERTUNE_CPU can turn this off, but not on."""
    capabilities = torch.cpu.get_capabilities()
    return cpu_features().int8 and any(capabilities.get(name, False) for name in _INT8)


def packs_weights(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies by weights of a dtype that it has packed before."""
    if not has_onednn() or not torch.cpu.get_capabilities().get("avx2", False):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_onednn() -> bool:
    """Whether this PyTorch has oneDNN, which multiplies 8-bit integers."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
