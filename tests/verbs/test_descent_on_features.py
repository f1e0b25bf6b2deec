"""Heads that gradient descent trains on features computed once: what it gives, and that it can be interrupted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interrupting import RUN, Command, differences, interrupted_and_resumed, state_of
from tlx.features.drawn_rows import DrawnRows
from tlx.storage import read_checkpoint

FROZEN = (*RUN, "freeze=trunk", "augment=none", "solver=sgd", "features=bank")
HEADS = {
    "linear": (),
    "mlp": ("head=mlp", "head.hidden=[16]", "head.dropout=0.3", "data.balance=weights"),
    "batch_norm": ("head=mlp", "head.hidden=[16]", "head.norm=batch", "regularizer.label_smoothing=0.1"),
    "cosine": ("head=cosine", "regularizer.ema=0.8", "data.balance=sampler"),
}


def told(folder: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Return the rows of a run's ``metrics.csv``, and its result."""
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file)), json.loads((folder / "result.json").read_text())


def apart(one: Path, other: Path) -> float:
    """Return how far two runs' histories and final losses lie apart."""
    (rows, result), (others, second) = told(one), told(other)
    assert len(rows) == len(others) == 3
    numbers = [[float(row[name]) for row in rows for name in row if name != "phase"] for rows in (rows, others)]
    ends = [[metrics["loss"] for metrics in found["metrics"].values()] for found in (result, second)]
    return float(np.abs(np.array(numbers[0] + ends[0]) - np.array(numbers[1] + ends[1])).max())


@pytest.mark.parametrize("head", HEADS)
def test_it_gives_what_a_training_on_images_gives(tlx: Command, tmp_path: Path, head: str) -> None:
    assert tlx(*FROZEN, *HEADS[head], "hydra.run.dir=once").code == 0
    assert tlx(*FROZEN, *HEADS[head], "features=off", "hydra.run.dir=live").code == 0
    assert apart(tmp_path / "once", tmp_path / "live") < 1e-5
    once, live = (told(tmp_path / name)[1] for name in ("once", "live"))
    assert (once["solver"], live["solver"]) == ({"kind": "sgd"}, None)
    assert once["best"]["epoch"] == live["best"]["epoch"]
    assert once["certificate"] == live["certificate"]
    assert once["parameters"] == live["parameters"]
    assert once["bank"]["computed"] >= sum(once["images"].values())


def test_rows_of_other_images_are_noticed(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the comparison: two images change their rows."""
    assert tlx(*FROZEN, "hydra.run.dir=once").code == 0
    real = DrawnRows.__getitem__

    def exchanged(self: DrawnRows, keys: Any) -> Any:
        return real(self, [(epoch, {0: 1, 1: 0}.get(index, index)) for epoch, index in keys])

    monkeypatch.setattr(DrawnRows, "__getitem__", exchanged)
    assert tlx(*FROZEN, "hydra.run.dir=other").code == 0
    assert apart(tmp_path / "once", tmp_path / "other") > 1e-3


@pytest.mark.parametrize("step", [2, 6])
def test_resume_is_exact(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """With dropout, an average, balanced draws and another view of every image an epoch."""
    words = (*FROZEN, *HEADS["mlp"], "regularizer.ema=0.8", "data.balance=sampler")
    words = (*words, "augment=light", "features.views=2")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_its_state_is_the_heads_alone(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*FROZEN, "head=mlp", "hydra.run.dir=run").code == 0
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "train" / "last.ckpt")["state_dict"]
    assert any(name.startswith("network.head.") for name in state)
    assert not any(name.startswith("network.trunk.") for name in state)


def test_it_can_be_the_probe_of_a_fine_tuning(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*FROZEN, "freeze=lp_ft", "augment=light")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    rows, result = told(tmp_path / "whole")
    assert [row["phase"] for row in rows] == ["probe"] * 3 + ["finetune"] * 4  # the first is what the probe handed on
    assert [row["phase"] for row in result["certificate"]] == ["probe", "finetune"]
    for step in (6, 18):  # in the middle of the one and of the other
        resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, "on_train_batch_end")
        assert differences(state_of(tmp_path / "whole"), resumed) == []
        for file in sorted((tmp_path / "broken").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()


def test_it_can_be_extended_and_finds_its_rate(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*FROZEN, "optimizer.lr=auto", "hydra.run.dir=run").code == 0
    answer = tlx("resume", "run=run", "trainer.max_epochs=5")
    assert answer.code == 0, answer.err
    assert len(told(tmp_path / "run")[0]) == 5


def test_what_is_said_of_it(tlx: Command) -> None:
    words = ("inspect", *FROZEN)
    assert "the new layer alone, for 3 epochs on features computed once" in tlx(*words).out
    votes = tlx(*words, "solver=knn").out
    assert "nothing, training images vote, by knn on features computed once" in votes
    assert "the new layer alone" not in votes
