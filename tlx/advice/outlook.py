"""Outlook: the test accuracy to be expected of each strategy, with its interval, and which one is advised.

A frozen trunk's head is expected to do what its cross-validated probe does. What training the whole network gains over
the best of them follows from experience: a linear model of the gain on other data sets (``tlx/assets/advice.json``,
fitted by ``python -m tests.benchmarks.advice.fit``), whose inputs are what is known here, the trial's own gain first.
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

FILE = Path(__file__).parents[1] / "assets" / "advice.json"
COVERAGE = 1.645  # standard deviations on either side hold 90 % of a normal distribution
INDIFFERENT = 0.005  # of two strategies nearer than that, the cheaper is advised
TIMES = (2, 3, 5, 10)  # as many images, of which is asked what they would change
SCALE = 0.5  # how large a gain may be, of the errors there are: what a trial of few images is weighed against

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
        row = row_of(strategy, evidence.frozen)
        return Expected(_grown(row.accuracy, evidence, times), math.hypot(row.standard_error, _apart(known, times)))
    best = evidence.best
    base = _grown(best.accuracy, evidence, times)
    trial = best_trial(strategy.kind, trials)
    model = known[strategy.kind]["trial" if trial else "no trial"]
    x = terms(base, evidence, trial, times)
    gain = float(np.dot(model["weights"], x))
    spread = model["deviation"] * (1 - base)
    deviation = math.sqrt(best.standard_error**2 + _apart(known, times) ** 2 + spread**2)
    return Expected(min(max(base + gain, 0.0), 1.0), deviation)


def best_trial(kind: str, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that tells most of a kind: its own, else that from the probe on."""
    own = {trial.kind: trial for trial in trials}
    return own.get(kind) or (own.get(WHOLE[0]) if kind != "scratch" else None)


def terms(base: float, evidence: Evidence, trial: Trial | None, times: float = 1.0) -> np.ndarray:
    """Return what the gain over a frozen trunk is explained by; each vanishes where nothing is left to gain.

    ``base``: the accuracy of the best frozen trunk.
    """
    errors = 1 - base
    many = math.log10(max(evidence.images, 1) * times / 1000)
    x = [errors, errors * many, errors * (1 - evidence.similarity.value)]
    if trial is None:
        return np.array(x)
    room = (SCALE * (1 - evidence.best.accuracy)) ** 2
    gain = trial.gain * room / (room + trial.standard_error**2) if room else 0.0
    return np.array([*x, gain, gain * math.log10(1 / max(trial.share, 1e-3))])


def _grown(accuracy: float, evidence: Evidence, times: float) -> float:
    """Return the accuracy of a probe with so many times the images, by the learning curve's slope.

    The probes were trained on a part of the sample, and the sample may be a part of the images.
    """
    curve = evidence.curve
    if curve is None:
        return accuracy
    trained = curve.points[-1].images
    gained = curve.at(evidence.images * times)[0] - curve.at(trained)[0]
    return min(max(accuracy + max(gained, 0.0), 0.0), 1.0)


def _apart(known: Experience, times: float) -> float:
    """Return how far test accuracy lies from what is expected of a frozen trunk; further, the more is extrapolated."""
    return float(known["frozen"]["deviation"]) * (1 + math.log2(times))


@dataclass(frozen=True)
class Verdict:
    """The strategy that is advised, the best of another case, and by how many times the images another case wins."""

    advised: Strategy
    runner_up: Strategy | None
    overtaken: tuple[int, str] | None


def decide(
    strategies: Sequence[Strategy], evidence: Evidence, trials: Sequence[Trial], known: Experience
) -> tuple[Verdict, list[Expected]]:
    """Advise the cheapest that is hardly worse than the best; ``strategies`` stand with the cheapest first."""
    expected = [expect(strategy, evidence, trials, known) for strategy in strategies]
    advised = _cheapest(strategies, expected)
    others = [index for index, strategy in enumerate(strategies) if strategy.case != advised.case]
    second = max(others, key=lambda index: expected[index].accuracy, default=None)
    return Verdict(advised, None if second is None else strategies[second], _overtaken(
        advised, strategies, evidence, trials, known
    )), expected  # fmt: skip


def _cheapest(strategies: Sequence[Strategy], expected: Sequence[Expected]) -> Strategy:
    most = max(one.accuracy for one in expected)
    return next(s for s, one in zip(strategies, expected, strict=True) if one.accuracy >= most - INDIFFERENT)


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
