"""Two processes on the CPU against one process with the same global batch; and a sweep whose jobs have children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import TINY
from tlx.storage import read_tensors

# LayerNorm, no BatchNorm (which synchronises on GPUs only); 40 images in batches of 12 leave a tail of four.
JOBS = (
    "-m", "case=large_similar", *TINY, "backbone.name=test_vit", "data=digits", "data.per_class=4",
    "data.batch_size=12", "data.balance=weights", "trainer.max_epochs=2", "callbacks.progress=false", "report=false",
)  # fmt: skip


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the sweep as a user would: Lightning starts its children from the command line."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TLX_CACHE": str(folder / "cache")}  # nothing known yet
    command = [sys.executable, "-m", "tlx", *JOBS, f"hydra.sweep.dir={folder}", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


# A frozen trunk and a network trained whole after a probe that is solved; then the same live, where the probe is
# trained, and stages that wake between epochs.
SWEEPS = [
    ("trunk,lp_ft", "bank"),
    pytest.param(("trunk,gradual,lp_ft", "off"), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=SWEEPS, ids=["bank", "off"])
def swept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    freeze, features = request.param
    words = f"freeze={freeze}", f"features={features}"
    root = tmp_path_factory.mktemp("ddp")
    one = sweep(root / "one", *words)
    assert one.returncode == 0, one.stderr
    two = sweep(root / "two", *words, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    assert two.returncode == 0, two.stderr
    return root / "one", root / "two"


def jobs_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "cache")


def test_two_processes_train_what_one_trains(swept: tuple[Path, Path]) -> None:
    for jobs in zip(*map(jobs_of, swept), strict=True):
        same_training(*jobs)


def same_training(*jobs: Path) -> None:
    one, two = (read_tensors(job / "model" / "weights.safetensors") for job in jobs)
    results = [json.loads((job / "result.json").read_text()) for job in jobs]
    started_at = [result["fingerprints"]["weights"] for result in results]
    assert started_at[0] == started_at[1]
    # A step is up to 1.5e-4. Where a gradient is zero but for rounding (a key's bias), Adam steps by the rounding.
    assert all(torch.allclose(one[name], two[name], rtol=1e-4, atol=5e-6) for name in one)
    for split in ("train", "val", "test"):
        losses = [result["metrics"][split]["loss"] for result in results]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert results[0]["images"] == results[1]["images"]


def test_every_jobs_children_got_that_jobs_overrides(swept: tuple[Path, Path]) -> None:
    _, two = swept
    configs = [json.loads((job / "result.json").read_text())["config"] for job in jobs_of(two)]
    freezes, features = [c["freeze"]["kind"] for c in configs], {c["features"]["kind"] for c in configs}
    assert (freezes, features) in [(["trunk", "lp_ft"], {"bank"}), (["trunk", "gradual", "lp_ft"], {"off"})]
    # No child left a folder of its own.
    assert [job.name for job in jobs_of(two)] == [f"{number}_large_similar" for number in range(len(configs))]
    assert len((two / "comparison.csv").read_text().splitlines()) == len(configs) + 1


@pytest.mark.slow
def test_two_processes_share_a_bank_and_train_a_head_on_it(tmp_path: Path) -> None:
    """By descent; then with fewer new images than processes, and with a folder that nobody can write to."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5), ("test", 5)):
        for label in ("a", "b"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / label / f"{index}.png")
    (tmp_path / "file").touch()
    words = ["case=small_similar", *TINY, "solver=sgd", "data=folder", f"data.root={tmp_path / 'data'}"]
    words += ["trainer.max_epochs=2", "callbacks.progress=false"]

    def run(name: str, *more: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tlx", *words, f"hydra.run.dir={tmp_path / name}", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TLX_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads((tmp_path / name / "result.json").read_text())
        return result

    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    alone = run("alone", f"features.dir={tmp_path / 'other'}")
    for name, more in (
        ("empty", ()),
        ("filled", ()),
        ("memory", ("features.dir=null",)),
        ("closed", (f"features.dir={tmp_path / 'file' / 'x'}",)),
        ("everywhere", ("features.depths=all", f"features.dir={tmp_path / 'file' / 'x'}")),
    ):
        result = run(name, *two, *more)
        for split in ("train", "val", "test"):
            loss = alone["metrics"][split]["loss"]
            assert result["metrics"][split]["loss"] == pytest.approx(loss, rel=1e-4), name
    new = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    new.save(tmp_path / "data" / "val" / "a" / "new.png")
    assert run("one more", *two)["bank"]["computed"] >= 1
