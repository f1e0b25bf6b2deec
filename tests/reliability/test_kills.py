"""R2: kill -9 at any moment of a training, a pass into the bank, an export: what stands on the disk is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Scorecard
from tests.reliability import killing
from tlx import storage

HOME = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on another filesystem than the test's."""
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no other filesystem here")
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


def killed(work: str, folder: Path, kills: int, seed: int, temporary: Path | None = None) -> Counter[str]:
    words = [sys.executable, "-m", "tests.reliability.killing", work, str(folder), str(kills), str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    environment |= {"TMPDIR": str(temporary)} if temporary else {}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Counter(json.loads(done.stdout.splitlines()[-1]))


FULL = {"train": 60, "bank": 24, "export": 16}  # twice each, with TMPDIR elsewhere and not: 200


@pytest.mark.parametrize(
    ("work", "kills", "away"),
    [
        ("train", 2, False),
        *(pytest.param(w, n, away, marks=pytest.mark.reliability) for w, n in FULL.items() for away in (False, True)),
    ],
)
def test_whatever_is_killed_leaves_whole_files(
    tmp_path: Path, request: pytest.FixtureRequest, scorecard: Scorecard, work: str, kills: int, away: bool
) -> None:
    temporary = request.getfixturevalue("elsewhere") if away else None
    found = killed(work, tmp_path, kills, kills + away, temporary)
    told = {"kills": found["kills"], "unloadable": found["unloadable"]}
    told["states more than one interval old"] = found["more than one interval lost"]
    told["resumed and different"] = found["different"]
    scorecard("R2", told)
    assert found["kills"] == kills
    assert found["in time"] >= int(0.7 * kills)  # of two, one
    assert found["unloadable"] == found["more than one interval lost"] == found["different"] == 0
    assert work != "train" or found["resumed to the end"] >= 1


def test_a_writer_without_care_is_noticed(tmp_path: Path) -> None:
    """The negative control: half a state, half an export, half a shard count."""
    phase = tmp_path / "run" / "checkpoints" / "train"
    phase.mkdir(parents=True)
    storage.write_checkpoint(phase / "last.ckpt", {"a": 1})
    (phase / "last.ckpt").write_bytes((phase / "last.ckpt").read_bytes()[:-9])
    assert killing.after_train(tmp_path / "run", 0)["unloadable"] == 1
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "x.safetensors").write_bytes(b"torn")
    assert killing.after_bank(tmp_path, 0)["unloadable"] == 1
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text("{")
    assert killing.after_export(tmp_path, 1)["unloadable"] == 1
    (tmp_path / "out" / "export.json").unlink()
    (tmp_path / "out").rmdir()
    assert killing.after_export(tmp_path, 1)["unloadable"] == 1
    assert killing.after_export(tmp_path, 0)["unloadable"] == 0
