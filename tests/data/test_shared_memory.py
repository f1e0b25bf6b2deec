"""Shared memory: as many worker processes as have room for their batches in it, and no worker too many."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlx.data import shared_memory
from tlx.data.shared_memory import AHEAD, PAGE, TENSORS, fitting, free

MIB = 2**20


def fits(workers: int, room: int, batch_bytes: int) -> bool:
    """Whether all batches of so many workers, and those being used, are no more than there is room for."""
    return (workers + 1) * AHEAD * (batch_bytes + TENSORS * PAGE) <= room


def roomy(room: int | None, workers: int, batch_bytes: int) -> int:
    """Ask how many workers fit where so much is free."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_memory, "free", lambda: room)
        return fitting(workers, batch_bytes)


@given(room=st.integers(0, 64 * MIB), workers=st.integers(0, 64), batch_bytes=st.integers(0, 4 * MIB))
@example(room=0, workers=4, batch_bytes=0)
@example(room=4 * (MIB + TENSORS * PAGE), workers=2, batch_bytes=MIB)  # one worker's batches, to the byte
@example(room=4 * (MIB + TENSORS * PAGE) - 1, workers=2, batch_bytes=MIB)
def test_all_that_fit_and_not_one_more(room: int, workers: int, batch_bytes: int) -> None:
    found = roomy(room, workers, batch_bytes)
    assert 0 <= found <= workers
    assert found == 0 or fits(found, room, batch_bytes)
    assert found == workers or not fits(found + 1, room, batch_bytes)


def test_the_smallest_tensors_take_a_page_each() -> None:
    """The negative control is the byte: images alone would have fitted."""
    assert roomy(4 * (100 + TENSORS * PAGE), 1, 100) == 1
    assert roomy(4 * (100 + TENSORS * PAGE) - 1, 1, 100) == 0


def test_no_limit_gives_every_worker() -> None:
    assert roomy(None, 1000, 10**12) == 1000
    assert roomy(10**6, 1000, 10**12) == 0  # the negative control


def test_nobody_asks_for_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(shared_memory, "free", lambda: asked.append(1))
    assert fitting(0, MIB) == 0
    assert not asked
    fitting(1, MIB)
    assert asked


def test_what_is_free_is_what_a_person_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is kept back for the system, nor all there is."""
    monkeypatch.setattr("sys.platform", "linux")
    state = SimpleNamespace(f_bavail=3, f_bfree=5, f_blocks=7, f_frsize=4096, f_bsize=65_536)
    monkeypatch.setattr(os, "statvfs", lambda _: state)
    assert free() == 3 * 4096


def test_where_there_is_none_no_worker_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(shared_memory, "PLACE", tmp_path / "none")
    assert free() == 0
    assert fitting(2, 1) == 0
    # The negative control: the folder is there, and so is room.
    (tmp_path / "none").mkdir()
    assert free()
    assert fitting(2, 1) == 2


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_hand_over_in_other_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str) -> None:
    monkeypatch.setattr(shared_memory, "PLACE", tmp_path / "none")
    monkeypatch.setattr("sys.platform", platform)
    assert free() is None
    assert fitting(3, 10**12) == 3
