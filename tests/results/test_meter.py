"""The meter tells what the machine tells, and None for the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlx.results.meter import Meter, peak_memory


def zone(root: Path, name: str, count: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{count}\n")
    return folder


def test_energy_is_what_the_processors_counters_counted(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 5_000_000)
    zone(tmp_path, "intel-rapl:1", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", 77)  # a part of the first, which counts it already
    meter = Meter(tmp_path)
    zone(tmp_path, "intel-rapl:0", 8_500_000)
    zone(tmp_path, "intel-rapl:1", 1_250_000)
    assert meter.read()["energy"] == 3.75


def test_a_counter_that_began_again_or_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", 5_000_000)
    meter = Meter(tmp_path)
    zone(tmp_path, "intel-rapl:0", 10)
    assert meter.read()["energy"] is None
    assert Meter(tmp_path / "none").read()["energy"] is None
    (zone(tmp_path, "intel-rapl:0", 1) / "energy_uj").write_text("odd")
    assert Meter(tmp_path).read()["energy"] is None


def test_memory_is_that_of_this_process() -> None:
    before = peak_memory()
    assert before is not None
    assert before > 10**7
    held = np.ones(before // 8 + 10**7)  # eighty megabytes more than ever
    assert peak_memory() > before
    assert held.sum() > 0
