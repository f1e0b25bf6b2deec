"""Outlook: the test accuracy to be expected of each strategy, with its interval, and which one is advised.

A frozen trunk's head is expected to do what its probes do, cross-validated and on validation images. What training the
whole network gains over the best of them is expected from experience, a linear model of gains on other data sets, and
corrected by what a trial gained. All are weighed by their uncertainty, as normal distributions; how far each lies from
what came of it on other data sets stands in ``tlx/assets/advice.json`` (``python -m tests.benchmarks.advice.fit``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tlx.advice.evidence import Evidence
from tlx.advice.strategy import WHOLE, Strategy, row_of
from tlx.advice.trial import Trial
from tlx.features.learning_curve import Curve

FILE = Path(__file__).parents[1] / "assets" / "advice.json"
COVERAGE = 1.645  # standard deviations on either side hold 90 % of a normal distribution
INDIFFERENT = 0.005  # what a whole network has to be better by, to be advised
TIMES = (2, 3, 5, 10)  # as many images, of which is asked what they would change
Experience = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """The accuracy to be expected on test images, and its standard deviation."""

    accuracy: float
    deviation: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 90 % interval."""
        reach = COVERAGE * self.deviation
        return max(0.0, self.accuracy - reach), min(1.0, self.accuracy + reach)


@cache
def experience() -> Experience:
    """Read what other data sets have taught."""
    known: Experience = json.loads(FILE.read_text(encoding="utf-8"))
    return known


def expect(
    strategy: Strategy,
    evidence: Evidence,
    trials: Sequence[Trial],
    known: Experience,
    times: float = 1.0,
) -> Expected:
    """Return what to expect of a strategy with so many times the images."""
    if strategy.kind == "frozen":
        return _frozen(evidence.frozen.index(row_of(strategy, evidence.frozen)), evidence, known, times)
    base = best_frozen(evidence, known, times)
    gain, spread = gained(strategy.kind, base.accuracy, evidence, trials, known, times)
    accuracy = min(max(base.accuracy + gain, 0.0), 1.0)
    return Expected(accuracy, math.hypot(base.deviation, spread))


def best_frozen(evidence: Evidence, known: Experience, times: float = 1.0) -> Expected:
    """Return what to expect of the best frozen trunk."""
    rows = range(len(evidence.frozen))
    return max((_frozen(index, evidence, known, times) for index in rows), key=lambda one: one.accuracy)


def _frozen(index: int, evidence: Evidence, known: Experience, times: float) -> Expected:
    """Weigh what cross-validation and validation images say of a frozen trunk."""
    row, judged = evidence.frozen[index], evidence.judged[index]
    curve = evidence.curve
    folds = evidence.profile.folds
    sampled = evidence.profile.images
    now, later = sampled, evidence.images * times
    said = [
        (_grown(row.accuracy, now * (folds - 1) / folds, later, curve), row.standard_error, known["frozen"]["probed"]),
        (_grown(judged.accuracy, now, later, curve), judged.standard_error, known["frozen"]["judged"]),
    ]
    trust = [1 / (error**2 + apart**2) for _, error, apart in said]
    accuracy = sum(weight * one[0] for weight, one in zip(trust, said, strict=True)) / sum(trust)
    further = 1 + math.log2(times)  # the more is extrapolated
    return Expected(accuracy, further / math.sqrt(sum(trust)))


def gained(
    kind: str, base: float, evidence: Evidence, trials: Sequence[Trial], known: Experience, times: float = 1.0
) -> tuple[float, float]:
    """Return what training the whole network is expected to gain over a frozen trunk, and its standard deviation.

    ``base``: the accuracy of the best frozen trunk.
    """
    model = known[kind]
    room = span(kind, base)
    gain, spread = room * float(np.dot(model["weights"], terms(evidence, times))), model["deviation"] * room
    trial = best_trial(kind, trials)
    if trial is None or not spread:
        return gain, spread
    # A trial that sees a part of what the whole training sees tells so much less.
    apart = trial.standard_error**2 + (model["apart"] * room) ** 2 / max(trial.share, 1e-3)
    trust = 1 / spread**2, 1 / apart
    return (trust[0] * gain + trust[1] * trial.gain) / sum(trust), 1 / math.sqrt(sum(trust))


def best_trial(kind: str, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that tells most of a kind: its own, else that from the probe on."""
    own = {trial.kind: trial for trial in trials}
    return own.get(kind) or (own.get(WHOLE[0]) if kind != "scratch" else None)


def span(kind: str, base: float) -> float:
    """Return what gains are a share of: the errors of the best frozen trunk, or for random weights what it can do."""
    return base if kind == "scratch" else 1 - base


def terms(evidence: Evidence, times: float = 1.0) -> np.ndarray:
    """Return what gains are explained by: the number of images, and how different they are."""
    many = math.log10(max(evidence.images, 1) * times / 1000)
    return np.array([1.0, many, 1 - evidence.similarity.value])


def _grown(accuracy: float, trained: float, later: float, curve: Curve | None) -> float:
    """Return the accuracy of a probe with more images than it was trained on, by the learning curve's slope."""
    if curve is None:
        return accuracy
    gained = max(curve.at(max(later, trained))[0] - curve.at(trained)[0], 0.0)
    return min(max(accuracy + gained, 0.0), 1.0)


@dataclass(frozen=True)
class Verdict:
    """The strategy that is advised, the best of another case, and by how many times the images another case wins."""

    advised: Strategy
    runner_up: Strategy | None
    overtaken: tuple[int, str] | None


def decide(
    strategies: Sequence[Strategy], evidence: Evidence, trials: Sequence[Trial], known: Experience
) -> tuple[Verdict, list[Expected]]:
    """Advise the best, but no whole network that is hardly better than a frozen trunk."""
    expected = [expect(strategy, evidence, trials, known) for strategy in strategies]
    advised = _cheapest(strategies, expected)
    others = [index for index, strategy in enumerate(strategies) if strategy.case != advised.case]
    second = max(others, key=lambda index: expected[index].accuracy, default=None)
    return Verdict(advised, None if second is None else strategies[second], _overtaken(
        advised, strategies, evidence, trials, known
    )), expected  # fmt: skip


def _cheapest(strategies: Sequence[Strategy], expected: Sequence[Expected]) -> Strategy:
    """Return the best frozen trunk, unless a whole network is worth its cost; passes cost much the same at any cut."""
    order = sorted(range(len(strategies)), key=lambda index: -expected[index].accuracy)
    best = order[0]
    frozen = next(index for index in order if strategies[index].kind == "frozen")
    near = expected[frozen].accuracy >= expected[best].accuracy - INDIFFERENT
    return strategies[frozen if near else best]


def _overtaken(
    advised: Strategy,
    strategies: Sequence[Strategy],
    evidence: Evidence,
    trials: Sequence[Trial],
    known: Experience,
) -> tuple[int, str] | None:
    for times in TIMES:
        expected = [expect(strategy, evidence, trials, known, times) for strategy in strategies]
        later = _cheapest(strategies, expected)
        ahead = max(one.accuracy for one in expected) - expected[list(strategies).index(advised)].accuracy
        if later.case != advised.case and ahead > INDIFFERENT:
            return times, later.case
    return None
