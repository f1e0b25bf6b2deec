"""Room: the bank stays within its limit, and what was used longest ago goes first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from tlx.features import room
from tlx.features.store import Store

OLD, OLDER, NEW = (letter * 32 for letter in "abc")  # addresses


def bank(root: Path, name: str, rows: int, used: float) -> Store:
    store = Store(root / name, 250)
    ids = np.random.default_rng(rows).integers(0, 256, (rows, 16), dtype=np.uint8)
    store.add(ids, np.ones((rows, 250), np.float32))
    room.mark(store, {"name": name})
    os.utime(root / name / room.MARK, (used, used))
    return store


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    now = time.time()
    for name, ago in ((OLD, 300), (OLDER, 400), (NEW, 200)):
        bank(tmp_path, name, 100, now - ago)  # 100 kB each
    assert room.tidy(tmp_path, 10**9) == 0
    whole = room.taken(tmp_path)
    assert 300_000 < whole < 330_000
    freed = room.tidy(tmp_path, 250_000)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {OLD, NEW}
    assert room.taken(tmp_path) == whole - freed
    room.mark(Store(tmp_path / OLD, 250), {})  # used again, and still
    room.tidy(tmp_path, 150_000)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {OLD}
    room.tidy(tmp_path, 0)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {OLD}


def test_what_is_in_use_is_spared(tmp_path: Path) -> None:
    old = bank(tmp_path, OLD, 100, time.time() - 500)
    bank(tmp_path, NEW, 100, time.time() - 400)
    room.tidy(tmp_path, 0, {old.folder})
    assert {path.name for path in tmp_path.glob("[!.]*")} == {OLD}


def test_leftovers_of_killed_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    bank(tmp_path, OLD, 3, time.time())
    dead, alive = tmp_path / OLD / ".a.safetensors.1.tmp", tmp_path / OLD / ".b.safetensors.2.tmp"
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
    bank(tmp_path, OLD, 100, time.time() - 500)
    (bank(tmp_path, NEW, 100, time.time()).folder / room.MARK).unlink()  # type: ignore[operator]
    room.tidy(tmp_path, 150_000)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {OLD}


def test_what_is_no_bank_is_left_alone(tmp_path: Path) -> None:
    """A bank's folder may be one that holds other things as well."""
    for name in ("thesis", "outputs", ".git", "d" * 31, "e" * 32 + "-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "words.txt").write_text("mine " * 50_000)
        (tmp_path / name / ".a.tmp").touch()
        os.utime(tmp_path / name / ".a.tmp", (0, 0))
    old = bank(tmp_path, OLD, 100, 0)
    assert old.folder is not None
    (old.folder / "mine.txt").touch()
    (tmp_path / ("f" * 32)).symlink_to(tmp_path / "thesis", target_is_directory=True)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    room.tidy(tmp_path, 0)
    gone = before - set(tmp_path.rglob("*"))
    assert {path.parent for path in gone} == {old.folder}
    assert [path.name for path in old.folder.iterdir()] == ["mine.txt"]


def test_a_bank_that_was_removed_in_use_is_marked_again(tmp_path: Path) -> None:
    store = bank(tmp_path, OLD, 100, 0)
    room.tidy(tmp_path, 0)
    assert not (tmp_path / OLD).exists()
    store.add(np.ones((1, 16), np.uint8), np.ones((1, 250), np.float32))
    room.mark(store, {"name": "again"})
    assert "again" in (tmp_path / OLD / room.MARK).read_text()
