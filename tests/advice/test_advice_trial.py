"""Trials: how far they go in the time there is, and what they count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import TIMING, auto, every, evidence
from tlx.advice.trial import EPOCH, FOLDS, IMAGES, START, Extent, Trials, extent
from tlx.config.groups import MlflowLogger
from tlx.data.source import ArrayImages, Source
from tlx.interruption import Interruption
from tlx.results.clock import Clock
from tlx.training.work import Work


@given(st.integers(8, 2000), st.integers(3, 30), st.floats(0, 500))
def test_a_trial_stays_within_its_time_and_says_how_far_it_goes(sampled: int, epochs: int, seconds: float) -> None:
    how = extent(sampled, sampled, epochs, TIMING, seconds)
    if how is None:
        return
    held = sampled // FOLDS
    step, judged = TIMING.read + TIMING.step, held * (TIMING.read + TIMING.forward)
    once = START + how.epochs * (EPOCH + how.images * step + judged) + how.images * TIMING.forward
    assert how.folds * once <= seconds + 1e-6
    assert 2 <= how.epochs <= epochs
    assert how.images <= sampled - held
    assert how.images == sampled - held or (how.images >= IMAGES and how.folds == 1)


def test_more_time_is_more_epochs_then_more_folds() -> None:
    found = [extent(100, 100, 10, TIMING, seconds) for seconds in (0.5, 2.5, 4, 8, 20, 100)]
    assert found[0] is None
    told = [(how.images, how.epochs, how.folds) for how in found if how]
    assert told == sorted(told)
    assert told[-1] == (75, 10, 4)


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 10
    pixels = (25 * labels[:, None, None, None] + rng.integers(0, 20, (80, 32, 32, 3))).astype(np.uint8)
    images = ArrayImages("made", pixels, labels)
    source = Source(tuple("abcdefghij"), images, images, images)
    features = np.eye(10)[labels] + 0.01 * rng.normal(size=(80, 10))
    return Trials(auto(), source, 80, features, tmp_path, Clock(0.0, 0.0), Interruption(""))


def test_a_trial_is_judged_by_images_that_it_has_not_trained_on_and_leaves_nothing(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[int], set[int]]] = []
    trained = Trials._trained

    def watched(self: Trials, strategy: object, epochs: int, rest: np.ndarray, held: np.ndarray) -> np.ndarray:
        seen.append((set(rest.tolist()), set(held.tolist())))
        return trained(self, strategy, epochs, rest, held)  # type: ignore[arg-type]

    monkeypatch.setattr(Trials, "_trained", watched)
    strategy = next(s for s in every(evidence()) if s.kind == "scratch")
    found = trials.run(strategy, Extent(40, 2, 2))
    assert [len(rest) for rest, _ in seen] == [40, 40]
    assert all(rest.isdisjoint(held) for rest, held in seen)
    assert seen[0][1].isdisjoint(seen[1][1])
    assert found.judged == sum(len(held) for _, held in seen) == 40
    assert found.share == pytest.approx(40 * 2 / (80 * 30))
    assert found.gain == pytest.approx(found.accuracy - 1.0)  # the probe is right about all
    assert not list(trials.folder.iterdir())
    assert trials.run(strategy, Extent(40, 2, 4), seconds=0.0).folds == 1  # what takes longer than was thought ends


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
    strategy = next(s for s in every(evidence()) if s.kind == "scratch")
    replace(trials, auto=replace(trials.auto, cases=typed, plain=plain)).run(strategy, Extent(40, 2, 1))
    assert "hunter22" not in str(created)
    assert "api_key" in str(created)  # the negative control: it was there to be hidden
    assert [work.config.logger.kind for work in works] == ["csv"]
    assert [work.config.data.workers for work in works] == [0]


def test_trials_of_the_same_images_are_the_same(trials: Trials) -> None:
    strategy = next(s for s in every(evidence()) if s.kind == "scratch")
    one = trials.run(strategy, Extent(40, 2, 1))
    torch.manual_seed(99)
    assert replace(trials.run(strategy, Extent(40, 2, 1)), seconds=0.0) == replace(one, seconds=0.0)
