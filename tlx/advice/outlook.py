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

from tlx.advice.evidence import Evidence, Judged, standard_error
from tlx.advice.strategy import WHOLE, Strategy, row_of
from tlx.advice.trial import Trial
from tlx.features.learning_curve import Curve

FILE = Path(__file__).parents[1] / "assets" / "advice.json"
COVERAGE = 1.645  # standard deviations on either side hold 90 % of a normal distribution
SHIFTED, SHIFT = 0.1, 0.15  # how often validation and test images are from elsewhere, and by how much that tells
UNEVEN = 0.3  # by how much that differs between depths, as a share of it
INDIFFERENT = 0.005  # what a whole network has to be better by, to be advised
SURELY = 0.01  # nothing is right, or wrong, more often than 99 %, as far as spreads are concerned
DISAGREE = 0.7  # images about which a whole network and a frozen trunk differ, as a share of the latter's errors
TIMES = (2, 3, 5, 10)  # as many images, of which is asked what they would change
Experience = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """The accuracy to be expected on test images, or a difference of accuracies, and its standard deviation."""

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
    apart = known["frozen"]
    moved = shift([heard(row, evidence) for row in range(len(evidence.frozen))], apart["row"])
    found = weigh(*heard(index, evidence, times), moved, apart)
    further = 1 + math.log2(times)  # the more is extrapolated
    return on_tests(Expected(found.accuracy, further * found.deviation), evidence.tests)


def on_tests(one: Expected, tests: int) -> Expected:
    """Return what to expect on so many test images, of which more or fewer may happen to be easy."""
    return Expected(one.accuracy, math.hypot(one.deviation, scatter(one.accuracy) / 2 / math.sqrt(max(tests, 1))))


def heard(index: int, evidence: Evidence, times: float = 1.0) -> tuple[Judged, Judged]:
    """Return what cross-validation and what validation images say of a frozen trunk that is trained on all images."""
    row, judged = evidence.frozen[index], evidence.judged[index]
    sampled, folds = evidence.profile.images, evidence.profile.folds
    later = evidence.images * times
    probed = _grown(row.accuracy, sampled * (folds - 1) / folds, later, evidence.curve)
    seen = _grown(judged.accuracy, sampled, later, evidence.curve)
    error = max(row.standard_error, standard_error(row.accuracy, sampled))
    return Judged(probed, error), Judged(seen, judged.standard_error)


def shift(told: Sequence[tuple[Judged, Judged]], row: float) -> Expected:
    """Return by how much validation images are harder than training images, over all depths, and how sure that is.

    They may be of the same kind, or from elsewhere, as test images may be: the more what they say lies from what
    cross-validation ``told``, beyond the errors of both, the likelier (a mixture of two normal distributions). The mean
    of both is returned, and the deviation of it where elsewhere is the likelier; else that of the same kind, which is
    none. ``row``: how far a single depth lies from what is told of it.
    """
    probed, seen = (np.array([pair[side].accuracy for pair in told]) for side in (0, 1))
    errors = [np.mean([pair[side].standard_error ** 2 for pair in told]) for side in (0, 1)]
    beside = float(np.mean([(row * scatter(one.accuracy)) ** 2 for pair in told for one in pair]))
    noise = float(sum(errors)) + 2 * beside / len(told)  # images are the same at every depth, and so are their errors
    between = float((seen - probed).mean())
    alike = (1 - SHIFTED) * _density(between**2, noise)
    elsewhere = SHIFTED * _density(between**2, noise + SHIFT**2)
    odds, trust = elsewhere / (alike + elsewhere), SHIFT**2 / (SHIFT**2 + noise)
    mean = trust * between
    deviation = math.sqrt(odds * (trust * noise + (1 - odds) * mean**2)) if odds > 0.5 else 0.0
    return Expected(odds * mean, deviation)


def weigh(probed: Judged, seen: Judged, moved: Expected, apart: Mapping[str, float]) -> Expected:
    """Weigh what cross-validation says, moved by the shift, and what validation images say, by how sure either is.

    ``apart``: how far a test lies from that where every other image is right, a single depth of a task (``row``) and
    all of them together (``level``); where nearly all are, or hardly any, it lies less far. And by how many standard
    errors it is worse (``less``): the best of several was lucky with the images that it was found by. What images from
    elsewhere make of the depths differs, by a share of what they make of all.
    """
    a = probed.standard_error**2 + (apart["row"] * scatter(probed.accuracy)) ** 2 + (UNEVEN * moved.accuracy) ** 2
    b = seen.standard_error**2 + (apart["row"] * scatter(seen.accuracy)) ** 2
    mine = b / (a + b)
    error = math.hypot(mine * probed.standard_error, (1 - mine) * seen.standard_error)
    accuracy = mine * (probed.accuracy + moved.accuracy) + (1 - mine) * seen.accuracy - apart["less"] * error
    accuracy = min(max(accuracy, 0.0), 1.0)
    return Expected(accuracy, math.hypot(error, moved.deviation, apart["level"] * scatter(accuracy)))


def scatter(accuracy: float) -> float:
    """Return the standard deviation of whether an image is right, beside that where every other one is."""
    share = min(max(accuracy, SURELY), 1 - SURELY)
    return 2 * math.sqrt(share * (1 - share))


def _density(square: float, variance: float) -> float:
    """Return how likely a deviation is, given as its square, by a normal distribution."""
    return math.exp(-square / (2 * variance)) / math.sqrt(variance)


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
    trust = 1 / spread**2, 1 / _off(trial.standard_error**2, model["apart"], room, trial.share)
    return (trust[0] * gain + trust[1] * trial.gain) / sum(trust), 1 / math.sqrt(sum(trust))


def worth_of_trial(kind: str, evidence: Evidence, known: Experience, judged: int, share: float = 1.0) -> float:
    """Return by how much the accuracy of what is advised is expected to rise by a trial judged by so many images.

    It is worth something as far as it may change the verdict (the expected value of information). ``share``: images
    that it sees, of those that the whole training would see.
    """
    base = best_frozen(evidence, known).accuracy
    gain, spread = gained(kind, base, evidence, (), known)
    if not spread:
        return 0.0
    error = math.sqrt(_off(DISAGREE * span(kind, base) / max(judged, 1), known[kind]["apart"], span(kind, base), share))
    moves = spread**2 / math.hypot(spread, error)  # standard deviation of what will then be expected
    short = INDIFFERENT - gain
    tail = 0.5 * math.erfc(short / moves / math.sqrt(2))
    told = moves * math.exp(-((short / moves) ** 2) / 2) / math.sqrt(2 * math.pi) - short * tail
    return told - max(-short, 0.0)


def _off(own: float, apart: float, room: float, share: float) -> float:
    """Return the variance of a trial's gain, of its ``own`` and of what it lies ``apart`` from whole trainings.

    A trial that sees a part of what the whole training sees tells so much less.
    """
    return own + (apart * room) ** 2 / max(share, 1e-3)


def best_trial(kind: str, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that tells most of a kind: its own, else that from the probe on."""
    own = {trial.kind: trial for trial in trials}
    return own.get(kind) or (own.get(WHOLE[0]) if kind != "scratch" else None)


def span(kind: str, base: float) -> float:
    """Return what gains are a share of: the errors of the best frozen trunk, or for random weights what it can do."""
    return base if kind == "scratch" else 1 - base


def terms(evidence: Evidence, times: float = 1.0) -> np.ndarray:
    """Return what gains are explained by: the number of images, and how far the deepest probe lies behind the best.

    The latter as a share of the errors that there are: a whole network starts from the deepest features.
    """
    many = math.log10(max(evidence.images, 1) * times / 1000)
    best, deepest = evidence.best.accuracy, evidence.profile.rows[-1].accuracy
    return np.array([1.0, many, (best - deepest) / max(1 - deepest, SURELY)])


def _grown(accuracy: float, trained: float, later: float, curve: Curve | None) -> float:
    """Return the accuracy of a probe with more images than it was trained on, by the learning curve's slope."""
    if curve is None:
        return accuracy
    gained = max(curve.accuracy(max(later, trained)) - curve.accuracy(trained), 0.0)
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
