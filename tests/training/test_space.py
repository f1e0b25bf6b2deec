"""What a run writes is estimated before it trains, neither too low nor far too high; what does not fit is refused."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.interrupting import RUN, Command
from tlx.network.network import Network
from tlx.training import space

Usage = namedtuple("Usage", ["total", "used", "free"])


def written(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "words",
    [
        RUN,
        (*RUN, "optimizer=sgd", "regularizer.ema=0.9"),
        (*RUN, "freeze=lp_ft", "features=off"),
        (*RUN, "freeze=upto", "freeze.stage=layer2"),
        (
            "case=large_different",
            "init=race",
            "trainer=cpu",
            *RUN[RUN.index("data=digits") : RUN.index("augment=standard")],
        ),
        ("case=small_similar", *TINY, "data=digits", "data.per_class=4", "solver=sgd", "trainer.max_epochs=2"),
        ("case=small_similar", *TINY, "data=digits", "data.per_class=4"),
    ],
)
def test_a_run_writes_at_most_what_was_estimated_and_not_far_less(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    estimated: list[int] = []
    original = space.estimate

    def noted(config: object, network: Network) -> int:
        estimated.append(original(config, network))  # type: ignore[arg-type]
        return estimated[-1]

    monkeypatch.setattr(space, "estimate", noted)
    assert tlx(*words, "callbacks.checkpoint.every_steps=1", "hydra.run.dir=run").code == 0
    (bound,) = estimated
    total = written(tmp_path / "run")
    assert total <= bound
    assert total >= 0.4 * (bound - space.BESIDES) - 200_000  # the smallest files aside


def test_what_does_not_fit_is_told_before_anything_trains(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 10**6, 10**6))
    answer = tlx(*RUN, "hydra.run.dir=run")
    assert answer.code == 3
    assert "this run writes up to" in answer.err
    assert "has room for 1 MB; free some space" in answer.err
    assert "epoch" not in answer.out
