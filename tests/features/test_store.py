"""The store: rows by address, whoever writes beside us, and whatever becomes of the files."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tlx.errors import MachineError
from tlx.features import store as module
from tlx.features.shard import DamagedError, Shard
from tlx.features.store import Store

WIDTH = 6


def address(numbers: np.ndarray) -> np.ndarray:
    """Spell numbers as addresses (N, 16), with zeros at both ends."""
    return np.stack([np.frombuffer(int(n).to_bytes(16, "big"), np.uint8) for n in numbers]).reshape(-1, 16)


def content(numbers: np.ndarray) -> np.ndarray:
    return np.stack([np.random.default_rng(int(n)).normal(size=WIDTH) for n in numbers]).astype(np.float32)


def put(store: Store, *numbers: int) -> None:
    store.add(address(np.array(numbers)), content(np.array(numbers)))


def missing(store: Store, *numbers: int) -> list[int]:
    return [numbers[index] for index in store.missing(address(np.array(numbers)))]


@pytest.mark.parametrize("kept", ["disk", "memory"])
def test_rows_come_back_by_their_address(kept: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "x" if kept == "disk" else None, WIDTH)
    assert missing(store, 1, 2, 1) == [1, 2]  # each once
    put(store, 1, 2, 3)
    put(store, 256, 65536)
    put(store, 3, 4)  # 3 again
    asked = np.array([65536, 3, 1, 4, 3])
    assert missing(store, *asked, 5) == [5]
    assert np.array_equal(store.rows(address(asked))[:], content(asked))
    with pytest.raises(KeyError):
        store.rows(address(np.array([5])))
    again = Store(store.folder, WIDTH)
    assert missing(again, 1, 2, 3, 4, 256, 65536) == ([] if kept == "disk" else [1, 2, 3, 4, 256, 65536])


def test_what_others_write_is_seen_when_asked_for(tmp_path: Path) -> None:
    one, other = Store(tmp_path, WIDTH), Store(tmp_path, WIDTH)
    put(other, 7)
    assert missing(one, 7) == [7]
    one.refresh()
    assert missing(one, 7) == []


@pytest.mark.parametrize("harm", ["flip", "tear", "empty", "replace"])
def test_a_damaged_file_is_removed_and_its_rows_are_missing(harm: str, tmp_path: Path) -> None:
    store = Store(tmp_path, WIDTH)
    put(store, 1, 2)
    (first,) = tmp_path.glob("*.safetensors")
    put(store, 3, 4)
    whole = bytearray(first.read_bytes())
    if harm == "flip":
        whole[-3] ^= 64
    elif harm == "tear":
        whole = whole[:-5]
    elif harm == "empty":
        whole = bytearray()
    else:
        whole = bytearray((tmp_path / next(p.name for p in tmp_path.iterdir() if p != first)).read_bytes())
    first.write_bytes(whole)
    again = Store(tmp_path, WIDTH)
    assert missing(again, 1, 2, 3, 4) == [1, 2]
    assert again.damaged == 1
    assert not first.exists()
    put(again, 1, 2)
    assert missing(Store(tmp_path, WIDTH), 1, 2, 3, 4) == []


def test_without_the_proof_altered_rows_would_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Store(tmp_path, WIDTH), 1)
    (file,) = tmp_path.glob("*.safetensors")
    altered = bytearray(file.read_bytes())
    altered[-17] ^= 1  # the address stands behind the row
    file.write_bytes(altered)
    monkeypatch.setattr(Shard, "prove", lambda self: None)
    store = Store(tmp_path, WIDTH)
    assert missing(store, 1) == []
    assert not np.array_equal(store.rows(address(np.array([1])))[:], content(np.array([1])))


def test_rows_of_another_width_are_not_used(tmp_path: Path) -> None:
    other = Store(tmp_path, 3)
    other.add(address(np.array([1])), np.zeros((1, 3), np.float32))
    assert missing(Store(tmp_path, WIDTH), 1) == [1]


def test_files_that_vanish_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Store(tmp_path, WIDTH), 1)
    put(Store(tmp_path, WIDTH), 2)
    first, _ = sorted(tmp_path.glob("*.safetensors"))
    real = module.open_shard

    def gone(path: Path) -> Shard:
        path.unlink() if path == first else None  # somebody tidies up in this very moment
        return real(path)

    monkeypatch.setattr(module, "open_shard", gone)
    assert len(missing(Store(tmp_path, WIDTH), 1, 2)) == 1


def test_what_is_in_use_stays_readable_when_somebody_tidies_up(tmp_path: Path) -> None:
    store = Store(tmp_path, WIDTH)
    put(store, 1)
    rows = store.rows(address(np.array([1])))
    for file in tmp_path.iterdir():
        file.unlink()
    assert np.array_equal(rows[:], content(np.array([1])))


@pytest.mark.parametrize("error", [MachineError("cannot write it", "free space"), OSError(30, "Read-only file system")])
def test_what_cannot_be_written_is_kept_in_memory(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "write_shard", full)
    store = Store(tmp_path, WIDTH)
    put(store, 1)
    put(store, 2)
    assert store.trouble is not None
    assert missing(store, 1, 2) == []
    assert np.array_equal(store.rows(address(np.array([2])))[:], content(np.array([2])))


def _write_for_ever(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    while True:
        numbers = np.arange(50) + 50 * rng.randrange(20)
        Store(folder, WIDTH).add(address(numbers), content(numbers))


def kill_writers(folder: Path, writers: int, kills: int) -> int:
    """Let writers write the same rows, kill one after another, and return how many files are torn or wrong."""
    context = multiprocessing.get_context("fork")

    def begun(seed: int) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_write_for_ever, args=(folder, seed), daemon=True)
        process.start()
        return process

    rng = random.Random(0)
    running = [begun(number) for number in range(writers)]
    for kill in range(kills):
        time.sleep(rng.uniform(0, 0.05))
        victim = running.pop(rng.randrange(writers))
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        running.append(begun(writers + kill))
    for process in running:
        process.kill()
        process.join()
    wrong = 0
    for path in folder.glob("*.safetensors"):
        try:
            shard = module.open_shard(path)
            shard.prove()
            numbers = np.array([int.from_bytes(row.tobytes(), "big") for row in shard.ids])
            wrong += not np.array_equal(shard.rows, content(numbers))
        except DamagedError:
            wrong += 1
    return wrong


@pytest.mark.parametrize("kills", [15, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_writers_leave_nothing_torn(kills: int, tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    assert kill_writers(folder, 4, kills) == 0
    assert list(folder.glob("*.safetensors"))
    store = Store(folder, WIDTH)
    every = np.arange(1000)
    absent = every[store.missing(address(every))]
    put(store, *absent) if len(absent) else None
    assert np.array_equal(store.rows(address(every))[:], content(every))
    assert store.damaged == 0


def test_a_writer_that_does_not_replace_tears_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the kills: written in place, slowly, files are torn, and that is seen."""

    def in_place(folder: Path, ids: np.ndarray, rows: np.ndarray) -> Path:
        whole = real(folder.parent / "aside", ids, rows).read_bytes()
        path = folder / f"{os.getpid()}-{time.monotonic_ns()}.safetensors"
        with path.open("wb") as file:
            for start in range(0, len(whole), 64):
                file.write(whole[start : start + 64])
                file.flush()
        return path

    real = module.write_shard
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr(module, "write_shard", in_place)
    monkeypatch.setattr(module.Store, "_open", lambda self, path: True)
    assert kill_writers(tmp_path / "bank", 4, 15) > 0


def test_many_files_can_be_open(tmp_path: Path) -> None:
    """In a process that may open few: a bank that has been filled for hours has more."""
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np; from tlx.features.store import Store\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "ids = np.random.default_rng(0).integers(0, 256, (100, 16), dtype=np.uint8); folder = Path(sys.argv[1])\n"
        "if sys.argv[2] == 'write':\n"
        "    for each in ids: Store(folder / 'x', 2).add(each[None], np.ones((1, 2), np.float32))\n"
        "else:\n"
        "    assert not len(Store(folder / 'x', 2).missing(ids)); open(folder / 'y', 'w').close()\n"
    )
    for what in ("write", "read"):
        done = subprocess.run([sys.executable, "-c", code, tmp_path, what], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
