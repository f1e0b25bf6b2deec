"""Room: the bank stays within its limit, and what was used longest ago goes first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from tlx.features import room
from tlx.features.store import Store


def bank(root: Path, name: str, rows: int, used: float) -> Store:
    store = Store(root / name, 250)
    ids = np.random.default_rng(rows).integers(0, 256, (rows, 16), dtype=np.uint8)
    store.add(ids, np.ones((rows, 250), np.float32))
    room.mark(store, {"name": name})
    os.utime(root / name / room.MARK, (used, used))
    return store


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    now = time.time()
    for name, ago in (("old", 300), ("older", 400), ("new", 10)):
        bank(tmp_path, name, 100, now - ago)  # 100 kB each
    assert room.tidy(tmp_path, 10**9) == 0
    whole = room.taken(tmp_path)
    assert 300_000 < whole < 330_000
    freed = room.tidy(tmp_path, 250_000)
    assert {path.name for path in tmp_path.iterdir()} == {"old", "new"}
    assert room.taken(tmp_path) == whole - freed
    room.mark(Store(tmp_path / "old", 250))  # used again
    room.tidy(tmp_path, 150_000)
    assert {path.name for path in tmp_path.iterdir()} == {"old"}


def test_what_is_in_use_is_spared(tmp_path: Path) -> None:
    old = bank(tmp_path, "old", 100, time.time() - 500)
    bank(tmp_path, "new", 100, time.time())
    room.tidy(tmp_path, 0, {old.folder})
    assert {path.name for path in tmp_path.iterdir()} == {"old"}


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    bank(tmp_path, "x", 3, time.time())
    dead, alive = tmp_path / "x" / ".a.safetensors.1.tmp", tmp_path / "x" / ".b.safetensors.2.tmp"
    for left in (dead, alive):
        left.touch()
    os.utime(dead, (0, 0))
    room.tidy(tmp_path, 10**9)
    assert not dead.exists()
    assert alive.exists()


def test_nothing_there_is_nothing_taken(tmp_path: Path) -> None:
    assert room.taken(tmp_path / "gone") == 0
    assert room.tidy(tmp_path / "gone", 0) == 0


def test_a_bank_without_a_mark_goes_first(tmp_path: Path) -> None:
    bank(tmp_path, "marked", 100, time.time() - 500)
    (bank(tmp_path, "bare", 100, time.time()).folder / room.MARK).unlink()  # type: ignore[operator]
    room.tidy(tmp_path, 150_000)
    assert {path.name for path in tmp_path.iterdir()} == {"marked"}
