"""Shards: what was written is read back, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tlx.errors import MachineError
from tlx.features.shard import DamagedError, Shard, open_shard, write_shard

IDS = np.arange(48, dtype=np.uint8).reshape(3, 16)
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def proven(path: Path) -> Shard:
    shard = open_shard(path)
    shard.prove()
    return shard


@settings(deadline=None)  # a disk takes its time
@given(rows=arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6))))
def test_what_is_written_is_read_to_the_last_bit(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    ids = np.random.default_rng(0).integers(0, 256, (len(rows), 16), dtype=np.uint8)
    shard = proven(write_shard(tmp_path_factory.mktemp("shard"), ids, rows))
    assert np.array_equal(shard.ids, ids)
    assert np.array_equal(shard.rows.view(np.uint32), rows.view(np.uint32))  # NaN and -0 too


def test_equal_content_is_one_file(tmp_path: Path) -> None:
    assert write_shard(tmp_path, IDS, ROWS) == write_shard(tmp_path, IDS, ROWS)
    assert write_shard(tmp_path, IDS, ROWS + 1) != write_shard(tmp_path, IDS, ROWS)
    assert len(list(tmp_path.iterdir())) == 2


def refused(path: Path) -> bool:
    try:
        proven(path)
    except DamagedError:
        return True
    return False


def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = write_shard(tmp_path, IDS, ROWS)
    content = bytearray(path.read_bytes())
    payload = len(content) - IDS.nbytes - ROWS.nbytes
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        if bit // 8 >= payload:
            assert refused(path), bit
        elif not refused(path):  # of a header: the format's own padding and what it does not mean
            shard = proven(path)
            assert np.array_equal(shard.ids, IDS), bit
            assert np.array_equal(shard.rows, ROWS), bit
        content[bit // 8] ^= 1 << bit % 8


def test_without_the_proof_a_flipped_bit_would_be_used(tmp_path: Path) -> None:
    path = write_shard(tmp_path, IDS, ROWS)
    content = bytearray(path.read_bytes())
    content[-IDS.nbytes - 1] ^= 1  # addresses stand behind the rows
    path.write_bytes(content)
    assert not np.array_equal(open_shard(path).rows, ROWS)


def test_a_torn_file_is_found_at_every_length(tmp_path: Path) -> None:
    path = write_shard(tmp_path, IDS, ROWS)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            proven(path)


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"",
        lambda: b"\xff" * 100,
        lambda: (2).to_bytes(8, "little") + b"[]",
        lambda: (4).to_bytes(8, "little") + b"null",
        lambda: (1 << 62).to_bytes(8, "little") + b"{}",
        lambda: (20).to_bytes(8, "little") + b'{"ids": 1, "rows":2}',
    ],
)
def test_what_is_no_shard_is_refused(content: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content())
    with pytest.raises(DamagedError):
        open_shard(tmp_path / "x.safetensors")


def test_a_shard_under_another_name_is_refused(tmp_path: Path) -> None:
    other = write_shard(tmp_path, IDS, ROWS).rename(tmp_path / f"{'0' * 32}.safetensors")
    with pytest.raises(DamagedError):
        open_shard(other)


def test_a_folder_that_is_gone_is_the_machines_fault(tmp_path: Path) -> None:
    with pytest.raises(MachineError):
        write_shard(tmp_path / "gone", IDS, ROWS)
    with pytest.raises(FileNotFoundError):
        open_shard(tmp_path / "gone.safetensors")
