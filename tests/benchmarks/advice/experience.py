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
from tlx.advice.evidence import Evidence, Similarity
from tlx.advice.outlook import Expected, Verdict, best_trial, decide, expect, terms
from tlx.advice.strategy import WHOLE, Strategy, strategies
from tlx.advice.trial import Trial
from tlx.config.cases import CASES, Auto
from tlx.features.learning_curve import Curve, Point
from tlx.features.profile import Profile

RIDGE = 0.02  # how much a weight is held to what it would be without any experience, in images' worth of gain
WITHOUT = {"trial": (0.0, 0.0, 0.0, 1.0, 0.0), "no trial": (0.0, 0.0, 0.0)}
NOBODY = {"frozen": {"deviation": 0.03}}

Truth = dict[tuple[str, int], dict[str, float]]  # (task, seed): test accuracy by strategy


@dataclass(frozen=True)
class Judged:
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
        """Its data set, of whatever size."""
        return self.task.split("-")[0]

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


def judged() -> list[Judged]:
    """Put truth and evidence together, of tasks whose every strategy was trained."""
    known, found = truth(), []
    for line in lines():
        there = known.get((line["task"], line["seed"]), {})
        evidence = evidence_of(line)
        every = tuple(strategies([row.place for row in evidence.profile.rows], evidence.images, _nobody()))
        if all(name_of(strategy) in there for strategy in every):
            trials = tuple(Trial(**trial) for trial in line["trials"])
            found.append(Judged(line["task"], line["seed"], evidence, trials, every, there, line["seconds"]))
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
    return Evidence(
        line["images"], line["classes"], each, line["left_out"], line["copies"], profile, random, logme, likeness, curve
    )


@cache
def _nobody() -> Auto:
    """Cases of no importance: names and epochs alone are asked for."""
    from tests.advice.facts import auto

    assert set(auto().cases) == set(CASES)
    return auto()


def fit(tasks: Sequence[Judged]) -> dict[str, Any]:
    """Learn from tasks how gains follow from evidence, each data set counting as much as any other."""
    share = {data: 1 / sum(task.data == data for task in tasks) for data in {task.data for task in tasks}}
    weight = np.array([share[task.data] for task in tasks])
    frozen = [_surprises(task) for task in tasks]
    apart = float(np.sqrt(np.average([np.mean(np.square(one)) for one in frozen], weights=weight)))
    known: dict[str, Any] = {"frozen": {"deviation": apart}}
    for kind in WHOLE:
        known[kind] = {}
        for how, start in WITHOUT.items():
            x, y, e, w = [], [], [], []
            for task, say in zip(tasks, weight, strict=True):
                trial = best_trial(kind, task.trials) if how == "trial" else None
                if how == "trial" and trial is None:
                    continue
                x.append(terms(_base(task), task.evidence, trial))
                y.append(task.truth[kind] - _frozen(task))
                e.append(max(1 - _base(task), 0.01))
                w.append(say)
            known[kind][how] = _fitted(np.array(x), np.array(y), np.array(e), np.array(w), np.array(start))
    return known


def _fitted(x: np.ndarray, y: np.ndarray, e: np.ndarray, w: np.ndarray, start: np.ndarray) -> dict[str, Any]:
    if not len(x):
        return {"weights": start.tolist(), "deviation": 0.5}
    scale = w / e  # errors of gains grow with what there is to gain
    a = x.T @ (scale[:, None] * x) + RIDGE * np.eye(len(start))
    weights = start + np.linalg.solve(a, x.T @ (scale * (y - x @ start)))
    rest = (y - x @ weights) / e
    return {"weights": weights.round(4).tolist(), "deviation": round(float(np.sqrt(np.average(rest**2, weights=w))), 4)}


def _base(task: Judged) -> float:
    best = max(task.evidence.frozen, key=lambda row: row.accuracy)
    strategy = next(s for s in task.strategies if s.kind == "frozen" and _row(task, s) == best)
    return expect(strategy, task.evidence, (), NOBODY).accuracy


def _frozen(task: Judged) -> float:
    """What came of the frozen trunk that probes best."""
    best = task.evidence.best
    return task.accuracy(next(s for s in task.strategies if s.kind == "frozen" and _row(task, s) == best))


def _row(task: Judged, strategy: Strategy) -> Any:
    from tlx.advice.strategy import row_of

    return row_of(strategy, task.evidence.frozen)


def _surprises(task: Judged) -> list[float]:
    """How far test accuracy lies from what is expected of frozen trunks, beyond the probes' own errors."""
    found = []
    for strategy in task.strategies:
        if strategy.kind == "frozen":
            row = _row(task, strategy)
            apart = task.accuracy(strategy) - expect(strategy, task.evidence, (), NOBODY).accuracy
            found.append(np.sqrt(max(apart**2 - row.standard_error**2, 0.0)))
    return found


def advised(task: Judged, known: Mapping[str, Any]) -> tuple[Verdict, Expected]:
    """Return what advice says of a task by some experience, and what it expects."""
    verdict, expected = decide(task.strategies, task.evidence, task.trials, known)
    return verdict, expected[task.strategies.index(verdict.advised)]
