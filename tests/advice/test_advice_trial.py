"""Trials: how far they go in the time there is, and what they count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import TIMING, auto, every, evidence
from tests.training.test_survey import sealed
from tlx.advice.strategy import Strategy
from tlx.advice.trial import EPOCH, FOLDS, IMAGES, START, Extent, Round, Trials, extent
from tlx.config.groups import MlflowLogger
from tlx.data.source import ArrayImages, Source, choose
from tlx.interruption import Interruption
from tlx.results.clock import Clock
from tlx.training.work import Work


@given(st.integers(8, 2000), st.integers(0, 500), st.integers(3, 30), st.floats(0, 500))
def test_a_round_stays_within_its_time_and_says_how_far_it_goes(
    sampled: int, judges: int, epochs: int, seconds: float
) -> None:
    how = extent(sampled, judges, epochs, TIMING, seconds)
    if how is None:
        return
    held = sampled // FOLDS
    step, read = TIMING.drawn + TIMING.step, TIMING.read + TIMING.forward
    once = START + how.epochs * (EPOCH + how.images * step + held * read) + how.images * TIMING.forward + judges * read
    assert once <= seconds + 1e-6
    assert 2 <= how.epochs <= epochs
    assert how.images <= sampled - held
    assert how.images == sampled - held or how.images >= IMAGES


def test_more_time_is_more_images_then_more_epochs() -> None:
    found = [extent(400, 100, 10, TIMING, seconds) for seconds in (0.5, 2.5, 4, 8, 20, 100)]
    assert found[0] is None
    told = [(how.images, how.epochs) for how in found if how]
    assert told == sorted(told)
    assert told[0][0] < 300
    assert told[-1] == (300, 10)


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 10
    pixels = (25 * labels[:, None, None, None] + rng.integers(0, 20, (80, 32, 32, 3))).astype(np.uint8)
    images = ArrayImages("made", pixels, labels)
    features = np.eye(10)[labels] + 0.01 * rng.normal(size=(80, 10))
    source = Source(tuple("abcdefghij"), images, choose(images, np.arange(40)), sealed(images))
    return Trials(auto(), source, 80, features, features[:40], 0.1, tmp_path, Clock(0.0, 0.0), Interruption(""))


def of(kind: str) -> Strategy:
    return next(s for s in every(evidence()) if s.kind == kind)


def always(how: Extent) -> Callable[[Strategy, float], Extent]:
    return lambda strategy, seconds: how


def test_a_trial_is_judged_by_images_that_it_has_not_trained_on_and_leaves_nothing(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[int], set[int]]] = []
    trained = Trials._trained

    def watched(self: Trials, strategy: Strategy, epochs: int, rest: np.ndarray, held: np.ndarray) -> np.ndarray:
        seen.append((set(rest.tolist()), set(held.tolist())))
        return trained(self, strategy, epochs, rest, held)

    monkeypatch.setattr(Trials, "_trained", watched)
    (found,) = trials.race([of("scratch")], always(Extent(40, 2)), 1000.0)
    assert [len(rest) for rest, _ in seen] == [40] * FOLDS
    assert all(rest.isdisjoint(held) for rest, held in seen)
    assert set.union(*(held for _, held in seen)) == set(range(80))
    assert found.folds == FOLDS
    assert found.judged == 80 + 40  # every image held out once, and the validation images once
    assert found.share == pytest.approx(40 * 2 / (80 * 30))
    assert found.gain == pytest.approx(found.accuracy - 1.0, abs=1e-9)  # the probe is right about all
    assert not list(trials.folder.iterdir())


def test_a_race_tries_all_once_and_its_leader_again_while_there_is_time(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = {"lp_ft": 0.0, "full": 0.1, "scratch": -0.5}
    order: list[tuple[str, int]] = []

    def stand_in(self: Trials, strategy: Strategy, how: Extent, index: int) -> Round:
        order.append((strategy.kind, index))
        one = np.zeros((20, 2))
        one[: abs(round(20 * gains[strategy.kind])), int(gains[strategy.kind] < 0)] = 1
        return Round(one, one, 1.0)

    monkeypatch.setattr(Trials, "round", stand_in)
    three = [of(kind) for kind in gains]
    found = trials.race(three, always(Extent(40, 2)), 1000.0)
    assert order == [("lp_ft", 0), ("full", 0), ("scratch", 0), ("full", 1), ("full", 2), ("full", 3)]
    assert [trial.folds for trial in found] == [1, 4, 1]
    assert [trial.gain for trial in found] == pytest.approx([0.0, 0.1, -0.5])
    order.clear()
    trials.race(three, always(Extent(40, 2)), 0.9)  # a round takes a second
    assert order == [("lp_ft", 0), ("full", 0), ("scratch", 0)]
    short = trials.race(three, lambda strategy, _: Extent(40, 2) if strategy.kind == "lp_ft" else None, 0.9)
    assert [trial.kind for trial in short] == ["lp_ft"]
    assert trials.race(three, lambda *_: None, 1000.0) == []
    order.clear()
    alone = trials.race(three, lambda strategy, there: Extent(40, 2) if there > 5 else None, 9.0)
    assert alone[0].kind == "lp_ft"  # a third of the time was too little for it


def test_a_trial_tells_no_tracker_of_itself_and_saves_no_secret(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx.advice import trial as module

    plain = {case: {**saved, "logger": {"kind": "mlflow"}} for case, saved in trials.auto.plain.items()}
    for saved in plain.values():
        saved["backbone"] = {**saved["backbone"], "kwargs": {"api_key": "hunter22"}}
    typed = {case: replace(config, logger=MlflowLogger()) for case, config in trials.auto.cases.items()}
    created: list[dict[str, object]] = []
    works: list[Work] = []
    create, phases = module.RunFolder.create, module.train_phases
    monkeypatch.setattr(module.RunFolder, "create", lambda path, config: created.append(config) or create(path, config))
    monkeypatch.setattr(module, "train_phases", lambda work, network: works.append(work) or phases(work, network))
    replace(trials, auto=replace(trials.auto, cases=typed, plain=plain)).round(of("scratch"), Extent(40, 2), 0)
    assert "hunter22" not in str(created)
    assert "api_key" in str(created)  # the negative control: it was there to be hidden
    assert [work.config.logger.kind for work in works] == ["csv"]
    assert [work.config.data.workers for work in works] == [0]


def test_trials_of_the_same_images_are_the_same(trials: Trials) -> None:
    one = trials.round(of("scratch"), Extent(40, 2), 0)
    torch.manual_seed(99)
    again = trials.round(of("scratch"), Extent(40, 2), 0)
    assert (one.held.tolist(), one.val.tolist()) == (again.held.tolist(), again.val.tolist())
    other = trials.round(of("scratch"), Extent(40, 2), 1)
    assert (one.held.tolist(), one.val.tolist()) != (other.held.tolist(), other.val.tolist())
