"""From truth and evidence to what the advisor knows of other data sets; and what it would have said of each task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tests.benchmarks.advice.collect import Line, lines
from tests.benchmarks.advice.truth import rows
from tlx.advice.evidence import Evidence, Judged, Similarity
from tlx.advice.outlook import Expected, Verdict, best_frozen, best_trial, decide, expect, span, terms
from tlx.advice.strategy import WHOLE, Strategy, row_of, strategies
from tlx.advice.trial import Trial
from tlx.config.cases import CASES, Auto
from tlx.features.learning_curve import Curve, Point
from tlx.features.profile import Profile

RIDGE = 1.0  # how much the weights of gains are held to zero: as by one data set more, of no gains
NOBODY = {"frozen": {"probed": 0.03, "judged": 0.03}}  # the experience of who has none
LEAST = 0.005  # standard deviation: nothing is known more exactly than that

Truth = dict[tuple[str, int], dict[str, float]]  # (task, seed): test accuracy by strategy


@dataclass(frozen=True)
class Known:
    """A task with a seed: what advice knew, what it could choose, and what came of each."""

    task: str
    seed: int
    evidence: Evidence
    trials: tuple[Trial, ...]
    strategies: tuple[Strategy, ...]
    truth: Mapping[str, float]
    seconds: float

    @property
    def data(self) -> str:
        """Its data set, of whatever size; patches are the same photographs, rotated or not."""
        return self.task.split("-")[0].removeprefix("rotated_")

    def accuracy(self, strategy: Strategy) -> float:
        """What came of a strategy on test images."""
        return self.truth[name_of(strategy)]


def name_of(strategy: Strategy) -> str:
    """Return what the truth calls a strategy."""
    if strategy.kind != "frozen":
        return strategy.kind
    cut: Any = strategy.cut
    return {
        "all": "trunk, all depths", "head": "trunk, head", "stage": f"trunk, {getattr(cut, 'stage', '')}",
        "layer": f"trunk, {getattr(cut, 'name', '')}",
    }[cut.kind]  # fmt: skip


def truth() -> Truth:
    """Read the table."""
    found: Truth = defaultdict(dict)
    for row in rows():
        found[row["task"], int(row["seed"])][row["strategy"]] = float(row["test_accuracy"])
    return dict(found)


def judged() -> list[Known]:
    """Put truth and evidence together, of tasks whose every strategy was trained."""
    known, found = truth(), []
    for line in lines():
        there = known.get((line["task"], line["seed"]), {})
        evidence = evidence_of(line)
        every = tuple(strategies([row.place for row in evidence.profile.rows], evidence.images, _nobody()))
        if all(name_of(strategy) in there for strategy in every):
            trials = tuple(Trial(**trial) for trial in line["trials"])
            found.append(Known(line["task"], line["seed"], evidence, trials, every, there, line["seconds"]))
    return found


def evidence_of(line: Line) -> Evidence:
    """Make evidence of what the file keeps of it."""
    plain, similar = line["curve"], line["similarity"]
    curve = None
    if plain:
        points = tuple(Point(**point) for point in plain["points"])
        curve = Curve(points, np.array([[plain["floor"], plain["scale"], plain["exponent"]]]))
    each = line["per_class"]["fewest"], line["per_class"]["most"]
    profile, random = Profile.read(line["profile"]), Profile.read(line["random"])
    logme, likeness = tuple(line["logme"]), Similarity(similar["worth"], similar["depth"])
    judged = tuple(Judged(**one) for one in line["judged"])
    facts = line["images"], line["classes"], each, line["left_out"], line["copies"]
    return Evidence(*facts, profile, random, logme, likeness, curve, judged)


@cache
def _nobody() -> Auto:
    """Cases of no importance: names and epochs alone are asked for."""
    from tests.advice.facts import auto

    assert set(auto().cases) == set(CASES)
    return auto()


def fit(tasks: Sequence[Known]) -> dict[str, Any]:
    """Learn from tasks how gains follow from evidence, each data set counting as much as any other."""
    share = {data: 1 / sum(task.data == data for task in tasks) for data in {task.data for task in tasks}}
    weight = np.array([share[task.data] for task in tasks])
    surprises = np.array([_surprises(task) for task in tasks])
    apart = np.sqrt(np.average(surprises, axis=0, weights=weight)).clip(LEAST)
    known: dict[str, Any] = {"frozen": {"probed": _short(apart[0]), "judged": _short(apart[1])}}
    for kind in WHOLE:
        room = np.array([max(span(kind, _base(task)), LEAST) for task in tasks])
        x = np.array([terms(task.evidence) for task in tasks])
        y = np.array([task.truth[kind] - _frozen(task) for task in tasks]) / room
        trusted = weight * np.minimum(1.0, room / np.median(room)) ** 2  # a share of next to nothing is mostly noise
        weights = _weights(x, y, trusted)
        deviation = float(np.sqrt(np.average((y - x @ weights) ** 2, weights=trusted)))
        known[kind] = {"weights": [_short(one) for one in weights], "deviation": _short(deviation)}
        known[kind]["apart"] = _short(_tried(kind, tasks, room, y * room))
    return known


def _weights(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Fit by least squares, held to zero a little: what is gained, as a share of the errors that there are."""
    solved: np.ndarray = np.linalg.solve(x.T @ (w[:, None] * x) + RIDGE * np.eye(x.shape[1]), x.T @ (w * y))
    return solved


def _tried(kind: str, tasks: Sequence[Known], errors: np.ndarray, gains: np.ndarray) -> float:
    """How far trials lie from what came of whole trainings, beyond their own errors: a share of the errors there are.

    As of a trial that sees as much as the whole training does.
    """
    found = []
    for task, e, gain in zip(tasks, errors, gains, strict=True):
        trial = best_trial(kind, task.trials)
        if trial is not None:
            beyond = ((trial.gain - gain) ** 2 - trial.standard_error**2) * trial.share / e**2
            found.append(beyond)
    return float(np.sqrt(max(np.mean(found), LEAST))) if found else 0.5


def _short(number: float) -> float:
    return round(float(number), 4)


def _base(task: Known) -> float:
    return best_frozen(task.evidence, NOBODY).accuracy


def _frozen(task: Known) -> float:
    """What came of the frozen trunk that is expected to be the best."""
    frozen = [s for s in task.strategies if s.kind == "frozen"]
    return task.accuracy(max(frozen, key=lambda s: expect(s, task.evidence, (), NOBODY).accuracy))


def _surprises(task: Known) -> tuple[float, float]:
    """How far test accuracy lies from either kind of probe: squares beyond their errors, the mean of frozen trunks."""
    found = []
    for strategy in task.strategies:
        if strategy.kind == "frozen":
            index = task.evidence.frozen.index(row_of(strategy, task.evidence.frozen))
            row, judged = task.evidence.frozen[index], task.evidence.judged[index]
            for one, sides in ((row, {"probed": 1e-6, "judged": 1e6}), (judged, {"probed": 1e6, "judged": 1e-6})):
                apart = task.accuracy(strategy) - expect(strategy, task.evidence, (), {"frozen": sides}).accuracy
                found.append(max(apart**2 - one.standard_error**2, 0.0))
    probed, judged_by = np.array(found).reshape(-1, 2).mean(0)
    return float(probed), float(judged_by)


def advised(task: Known, known: Mapping[str, Any]) -> tuple[Verdict, Expected]:
    """Return what advice says of a task by some experience, and what it expects."""
    verdict, expected = decide(task.strategies, task.evidence, task.trials, known)
    return verdict, expected[task.strategies.index(verdict.advised)]
