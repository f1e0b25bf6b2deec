"""Rows: read from shards as if they were one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.features import rows as module
from tlx.features.rows import Rows
from tlx.features.shard import Shard, open_shard, write_shard


def scattered(seed: int) -> tuple[Rows, np.ndarray]:
    """Return rows that lie here and there in three shards, some of them twice, and the same as an array."""
    rng = np.random.default_rng(seed)
    shards = [rng.normal(size=(count, 4)).astype(np.float32) for count in (5, 1, 9)]
    shard = rng.integers(0, 3, 12)
    position = np.array([rng.integers(len(shards[number])) for number in shard])
    whole = np.stack([shards[s][p] for s, p in zip(shard, position, strict=True)])
    return Rows([Shard(np.zeros((len(r), 16), np.uint8), r) for r in shards], shard, position, 4), whole


@given(seed=st.integers(0, 50), index=st.one_of(st.slices(12), st.lists(st.integers(-12, 11)).map(np.array)))
def test_any_index_reads_what_an_array_would(seed: int, index: slice | np.ndarray) -> None:
    rows, whole = scattered(seed)
    if isinstance(index, np.ndarray):
        index = index.astype(np.int64)
    assert np.array_equal(rows[index], whole[index])
    assert np.array_equal(np.asarray(rows), whole)
    assert (rows.shape, len(rows), rows.nbytes) == (whole.shape, 12, whole.nbytes)


def test_what_was_read_is_a_copy() -> None:
    rows, whole = scattered(0)
    rows[:][:] = 0
    assert np.array_equal(rows[:], whole)


def held(path: Path) -> int:
    """Return how many bytes of a file this process holds in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return sum(
        int(next(line for line in lines if line.startswith("Rss:")).split()[1]) * 1024
        for line in lines
        if line.endswith(str(path))
    )


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of memory")
def test_memory_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, width = 4096, 1024
    path = write_shard(tmp_path, np.zeros((count, 16), np.uint8), np.ones((count, width), np.float32))
    for most, small in ((2**20, True), (2**40, False)):  # the second is the control
        monkeypatch.setattr(module, "HELD", most)
        rows = Rows([open_shard(path)], np.zeros(count, np.int64), np.arange(count), width)
        for start in range(0, count, 256):
            rows[start : start + 256]
        assert (held(path) < 6 * 2**20) is small  # of 16 MB; the system reads ahead


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of memory")
def test_memory_is_given_back_by_rows_that_are_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their neighbours come with them: 256 rows are 1 MB, and bring 16 MB where pages are mapped by the dozen."""
    count, width, most = 8192, 1024, 2**23
    path = write_shard(tmp_path, np.zeros((count, 16), np.uint8), np.ones((count, width), np.float32))
    monkeypatch.setattr(module, "HELD", most)
    for around, small in ((module.AROUND, True), (0, False)):  # the second is the control
        monkeypatch.setattr(module, "AROUND", around)
        rows = Rows([open_shard(path)], np.zeros(count, np.int64), np.arange(count), width)
        held_most = 0
        for number, batch in enumerate(np.random.default_rng(0).permutation(count)[:768].reshape(-1, 4)):
            rows[batch]
            if number % 17 == 0:  # looking takes long
                held_most = max(held_most, held(path))
        assert (held_most <= 2 * most) is small
