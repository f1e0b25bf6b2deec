"""Two processes on the CPU against one process with the same global batch; and a sweep whose jobs have children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from tlx.storage import read_tensors

# LayerNorm, no BatchNorm (which synchronises on GPUs only); 40 images in batches of 12 leave a tail of four.
JOBS = (
    "-m", "case=large_similar", *TINY, "backbone.name=test_vit", "data=digits", "data.per_class=4",
    "data.batch_size=12", "data.balance=weights", "trainer.max_epochs=2", "freeze=trunk,none", "callbacks.progress=false",
)  # fmt: skip


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the sweep as a user would: Lightning starts its children from the command line."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tlx", *JOBS, f"hydra.sweep.dir={folder}", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("ddp")
    one = sweep(root / "one")
    assert one.returncode == 0, one.stderr
    two = sweep(root / "two", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    assert two.returncode == 0, two.stderr
    return root / "one", root / "two"


@pytest.mark.parametrize("job", ["0_large_similar", "1_large_similar"])  # a frozen trunk; a network trained whole
def test_two_processes_train_what_one_trains(swept: tuple[Path, Path], job: str) -> None:
    one, two = (read_tensors(folder / job / "model" / "weights.safetensors") for folder in swept)
    started_at = [
        json.loads((folder / job / "result.json").read_text())["fingerprints"]["weights"] for folder in swept
    ]
    assert started_at[0] == started_at[1]
    assert all(torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-6) for name in one)
    results = [json.loads((folder / job / "result.json").read_text()) for folder in swept]
    for split in ("train", "val", "test"):
        losses = [result["metrics"][split]["loss"] for result in results]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert results[0]["images"] == results[1]["images"]


def test_every_jobs_children_got_that_jobs_overrides(swept: tuple[Path, Path]) -> None:
    _, two = swept
    frozen = [json.loads((two / f"{n}_large_similar" / "result.json").read_text())["freeze"] for n in (0, 1)]
    assert frozen == ["trunk", "none"]
    assert sorted(path.name for path in two.iterdir() if path.is_dir()) == ["0_large_similar", "1_large_similar"]
    assert len((two / "comparison.csv").read_text().splitlines()) == 3


def test_features_computed_once_by_two_processes(tmp_path: Path) -> None:
    words = ("case=small_similar", *TINY, "data=digits", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    command = [sys.executable, "-m", "tlx", *words, f"hydra.run.dir={tmp_path / 'two'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    one = [sys.executable, "-m", "tlx", *words[:-3], f"hydra.run.dir={tmp_path / 'one'}"]
    assert subprocess.run(one, capture_output=True, cwd=tmp_path, timeout=300).returncode == 0
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert results[0]["metrics"]["test"]["accuracy"] == pytest.approx(results[1]["metrics"]["test"]["accuracy"], abs=2e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]  # the child left no folder of its own
