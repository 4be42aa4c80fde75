"""Runtime: where PyTorch computes and how precisely, found once and handed down."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from graft.errors import UsageError


@dataclass(frozen=True)
class Runtime:
    """A device, the precision that it computes fastest in, and this process's place among others.

    `dtype` is float32, bfloat16 or float16: what autocast computes in; weights stay float32.
    float16 has few exponent bits, so training in it needs a GradScaler (`scaled`). `rank` counts
    from 0 to `world` - 1; one process alone is rank 0 of 1.
    """

    device: torch.device
    dtype: torch.dtype
    rank: int = 0
    world: int = 1

    @property
    def precision(self) -> str:
        """f32, bf16 or f16."""
        return {torch.bfloat16: "bf16", torch.float16: "f16"}.get(self.dtype, "f32")

    @property
    def scaled(self) -> bool:
        """Whether training needs a GradScaler: small gradients would be zero in float16."""
        return self.dtype == torch.float16

    @property
    def where(self) -> str:
        """The device, for people: CPU, Apple GPU, or the name of the CUDA device."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return {"mps": "Apple GPU"}.get(self.device.type, "CPU")

    def part(self, count: int) -> slice:
        """Which of `count` things this process takes; empty if there are fewer than processes."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def autocast(self) -> torch.autocast:
        """The context in which a forward pass computes in `dtype`; does nothing for float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def detect_runtime(backend: str = "auto") -> Runtime:
    """What this machine has: CUDA, else Apple's MPS, else the CPU.

    The dtype is bfloat16 where the hardware computes in it, else float16 on a GPU and float32 on
    a CPU; float32 everywhere for `backend` "float32", or where $GRAFT_PRECISION says so.
    """
    if torch.cuda.is_available():
        device = torch.device("cuda")
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    elif torch.backends.mps.is_available():
        # MPS's autocast knows float16 on every macOS that PyTorch runs on, bfloat16 on some.
        device, dtype = torch.device("mps"), torch.float16
    else:
        # Emulated bfloat16 is slower than float32: only where the processor computes in it.
        supported = torch.cpu.get_capabilities()
        native = any(supported.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        device, dtype = torch.device("cpu"), torch.bfloat16 if native else torch.float32
    exact = backend == "float32" or float32_asked_for()
    return Runtime(device, torch.float32 if exact else dtype)


def float32_asked_for() -> bool:
    """Whether $GRAFT_PRECISION is "float32": as on a machine that has no bfloat16.

    Raises UsageError for any other value than "auto" or none.
    """
    asked = os.environ.get("GRAFT_PRECISION") or "auto"
    if asked not in ("auto", "float32"):
        raise UsageError(f"GRAFT_PRECISION is auto or float32, not {asked!r}")
    return asked == "float32"
