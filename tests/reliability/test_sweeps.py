"""R12: a sweep whose jobs fail in every way: the others finish, all is told, and what was interrupted goes on."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Scorecard
from tests.interrupting import RUN, Command, differences, state_of
from tlx.learner.checkpoints import Checkpoints
from tlx.storage import read_json

SWEEP = ("-m", *(word for word in RUN if not word.startswith("data.batch_size")), "data.batch_size=8,9,10,11,12,13")
# What happens in the sixth step of a job, by its batch size; the others end as they should.
FATES = ("an exception", "sys.exit", "an infinite loss", "SIGTERM")


def fated(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Checkpoints.on_train_batch_end

    def failing(self: Checkpoints, trainer: Any, learner: Any, outputs: Any, batch: Any, index: int) -> None:
        fate = dict(zip((9, 10, 11, 12), FATES, strict=True)).get(trainer.datamodule.order.batch_size)
        if trainer.current_epoch == 1 and index == 1:
            if fate == "an exception":
                raise RuntimeError("something broke")
            if fate == "sys.exit":
                raise SystemExit(0)
            if fate == "an infinite loss":
                learner.network.head.linear.weight.data.fill_(float("inf"))
            if fate == "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
        original(self, trainer, learner, outputs, batch, index)

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", failing)


def comparison(folder: Path) -> dict[str, dict[str, str]]:
    return {row["run"][0]: row for row in csv.DictReader((folder / "comparison.csv").read_text().splitlines())}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.reliability)])
def test_every_failure_is_told_and_a_sweep_goes_on(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard, workers: int
) -> None:
    sweep, words = tmp_path / "sweep", (*SWEEP, f"data.workers={workers}")
    with monkeypatch.context() as patched:
        fated(patched)
        answer = tlx(*words, "hydra.sweep.dir=sweep")
    rows = comparison(sweep)
    assert answer.code == 143  # who ends the process means all of it
    assert [rows[job]["exit_code"] for job in "01234"] == ["0", "1", "1", "4", "143"]
    assert "something broke" in rows["1"]["reason"]
    assert "sys.exit" in rows["2"]["reason"]
    assert "loss" in rows["3"]["reason"]
    assert "SIGTERM" in rows["4"]["reason"]
    assert "5" not in rows
    assert f"python -m tlx resume run={'sweep'}" in answer.err
    first = read_json(sweep / "0_large_similar" / "result.json")
    again = tlx("resume", "run=sweep")
    assert again.code == 0, again.err
    rows = comparison(sweep)
    unfinished = sum(row["status"] != "done" for row in rows.values())
    scorecard("R12", {"jobs": 6, "failures told": 4, "unfinished after resume": unfinished})
    assert [rows[job]["status"] for job in "012345"] == ["done"] * 6
    assert read_json(sweep / "0_large_similar" / "result.json") == first  # a finished run is left alone
    assert tlx(*words, "hydra.sweep.dir=whole").code == 0
    for job in range(6):
        one, other = (state_of(tmp_path / place / f"{job}_large_similar") for place in ("sweep", "whole"))
        assert differences(one, other) == [], job


@pytest.mark.reliability
def test_a_sweep_that_was_killed_before_its_last_jobs_begins_them(tlx: Command, tmp_path: Path) -> None:
    import shutil

    words = ("-m", *RUN, "trainer.max_epochs=1", "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert tlx(*words).code == 0
    for job in (1, 2):
        shutil.rmtree(tmp_path / "sweep" / f"{job}_large_similar")
    answer = tlx("resume", "run=sweep")
    assert answer.code == 0, answer.err
    assert [row["status"] for row in comparison(tmp_path / "sweep").values()] == ["done"] * 3
    assert "finished" in answer.out


@pytest.mark.parametrize(
    "word",
    ["hydra.launcher._target_=os.system", "+hydra/launcher=x", "backbone.target=os.system", "~cut", "x", "--help"],
)
def test_a_sweeps_folder_names_no_code(tlx: Command, tmp_path: Path, word: str) -> None:
    (tmp_path / "sweep").mkdir()
    text = f'hydra:\n  overrides:\n    task: ["case=small_similar", "{word}"]\n'
    (tmp_path / "sweep" / "multirun.yaml").write_text(text)
    answer = tlx("resume", "run=sweep")
    assert (answer.code, "which a folder may not" in answer.err) == (2, True), answer.err


@pytest.mark.parametrize("text", ["", "[", "hydra: 3", "hydra: {overrides: {}}", "hydra: {overrides: {task: 3}}"])
def test_a_damaged_sweep_is_told(tlx: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").write_text(text)
    answer = tlx("resume", "run=sweep")
    assert (answer.code, "damaged" in answer.err) == (2, True), answer.err


def test_what_a_sweep_does_not_take_is_refused(tlx: Command, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "multirun.yaml").write_text("hydra: {overrides: {task: [case=small_similar]}}")
    answer = tlx("resume", "run=sweep", "trainer.max_epochs=9")
    assert (answer.code, "resume its runs one by one" in answer.err) == (2, True)
