"""The processor that trains: its name, and the mixed precision that it computes natively."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_FACTS = Path("/proc/cpuinfo")
NAMING = ("vendor_id", "model name", "cpu family", "model", "CPU implementer", "CPU part")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 with AVX-512 or AMX; 64-bit Arm


def name_of(device: torch.device) -> str:
    """Name a GPU by its model; a CPU by its model and the threads that compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    facts = _facts()
    told = " ".join(facts[key] for key in NAMING if key in facts) or platform.processor() or platform.machine()
    return f"{told}, {torch.get_num_threads()} threads" if device.type == "cpu" else f"{device.type} of {told}"


def mixed_precision(device: torch.device) -> str | None:
    """Name the mixed precision that a device computes natively; None where there is none, or nobody can tell."""
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    flags = set(" ".join((_facts().get("flags", ""), _facts().get("Features", ""))).split())
    return "bf16-mixed" if device.type == "cpu" and flags & BF16_FLAGS else None


def _facts() -> dict[str, str]:
    """Read what Linux tells of the first core; nothing elsewhere."""
    try:
        lines = CPU_FACTS.read_text("utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
