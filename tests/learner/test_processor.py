"""What the system says of the processor is read; where it says nothing, no precision is taken for native."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tlx.learner import processor
from tlx.learner.processor import mixed_precision, name_of

CPU = torch.device("cpu")
X86 = "vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2{}\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd{}\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("facts", "native"),
    [
        (X86.format(""), None),
        (X86.format(" avx512f avx512bw"), None),  # computes bf16 by way of 32 bits, slower
        (X86.format(" avx512_bf16"), "bf16-mixed"),
        (X86.format(" amx_bf16"), "bf16-mixed"),
        (ARM.format(""), None),
        (ARM.format(" bf16"), "bf16-mixed"),
    ],
)
def test_native_bf16_is_told_by_flags(
    facts: str, native: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(facts)
    monkeypatch.setattr(processor, "CPU_FACTS", tmp_path / "cpuinfo")
    assert mixed_precision(CPU) == native
    assert mixed_precision(torch.device("mps")) is None
    name = name_of(CPU)
    assert name.startswith("AuthenticAMD AMD EPYC 26, " if "AMD" in facts else "0x41 0xd40, ")
    assert name.endswith(f", {torch.get_num_threads()} threads")


def test_another_system_has_a_name_and_no_native_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPU_FACTS", tmp_path / "missing")
    assert mixed_precision(CPU) is None
    assert name_of(CPU)
