"""Every solver through whole runs: the result tells what was chosen, and the saved model predicts what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, Answer

Command = Callable[..., Answer]
CHOSEN = {"lbfgs": {"strength"}, "ridge": {"strength"}, "ncm": set(), "knn": {"k"}}
WORDS = ("case=small_similar", *TINY, "data=digits", "data.per_class=6", "hydra.run.dir=run")


@pytest.mark.parametrize("solver", CHOSEN)
def test_a_solver_ends_in_a_result_and_a_model(tlx: Command, tmp_path: Path, solver: str) -> None:
    answer = tlx(*WORDS, f"solver={solver}")
    assert answer.code == 0, answer.err
    result: dict[str, Any] = json.loads((tmp_path / "run" / "result.json").read_text())
    told = result["solver"]
    assert set(told) == {"kind", "path", *CHOSEN[solver]}
    assert told["kind"] == solver
    assert all(row["val_loss"] > 0 and 0 <= row["val_accuracy"] <= 1 for row in told["path"])
    lowest = min(told["path"], key=lambda row: row["val_loss"])
    assert all(lowest[name] == told[name] for name in CHOSEN[solver])
    assert result["metrics"]["val"]["loss"] == pytest.approx(lowest["val_loss"], abs=1e-4)
    assert result["frozen_unchanged"] is True
    assert (result["parameters"]["trained"] == 0) == (solver == "knn")
    for split in ("val", "test"):
        again = tlx("evaluate", "run=run", f"split={split}", "trainer=cpu")
        assert again.code == 0, again.err
        row = next(line.split() for line in again.out.splitlines() if line.startswith(split))
        assert float(row[2]) == pytest.approx(result["metrics"][split]["loss"], abs=2e-4)
        assert float(row[3]) == pytest.approx(result["metrics"][split]["accuracy"], abs=5e-5)


def test_classes_alike_for_every_solver(tlx: Command, photos: Path) -> None:
    for image in sorted((photos / "train" / "red").glob("*.png"))[4:]:
        image.unlink()
    words = (
        "case=small_similar",
        *TINY,
        "data=folder",
        f"data.root={photos}",
        "data.workers=0",
        "data.balance=weights",
    )
    for solver in CHOSEN:
        assert tlx(*words, f"solver={solver}").code == 0


def test_votes_are_no_head_to_fine_tune(tlx: Command) -> None:
    words = ("case=small_similar", *TINY, "data=digits", "data.per_class=6", "solver=knn", "freeze=lp_ft")
    for verb in ((), ("inspect",)):
        answer = tlx(*verb, *words)
        assert answer.code == 2
        assert "solver=knn trains nothing that freeze=lp_ft could go on from; choose solver=lbfgs" in answer.err
    assert tlx("inspect", *words, "features=off").code == 0
    assert tlx("inspect", *words, "head=mlp").code == 0


def test_a_model_of_neighbours_that_would_be_huge_is_refused(tlx: Command) -> None:
    answer = tlx(*WORDS, "solver=knn", "solver.most_gigabytes=1e-6")
    assert answer.code == 2
    assert "in the model" in answer.err
    assert answer.err.count("\n") == 1


def test_a_model_of_neighbours_starts_another_transfer(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*WORDS, "solver=knn").code == 0
    chained = ("init=pretrained", "init.run=run", "hydra.run.dir=second")
    answer = tlx(*(word for word in WORDS if "dir" not in word and "scratch" not in word), *chained)
    assert answer.code == 0, answer.err


def test_inspect_names_the_solver(tlx: Command) -> None:
    for solver, words in (("lbfgs", "L2 on validation"), ("knn", "k on validation"), ("ncm", "nothing to choose")):
        assert f"{solver}, {words}" in tlx("inspect", *WORDS[:-1], f"solver={solver}").out
