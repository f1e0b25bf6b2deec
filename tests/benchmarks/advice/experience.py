"""From truth and evidence to what the advisor knows of other data sets; and what it would have said of each task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any

import numpy as np

from tests.benchmarks.advice.collect import Line, lines
from tests.benchmarks.advice.truth import rows
from tlx.advice.advise import worth_trying
from tlx.advice.evidence import Evidence, Judged, Similarity
from tlx.advice.expected import Expected, on_tests, scatter
from tlx.advice.frozen import Prospect, heard, shift, weigh
from tlx.advice.outlook import Verdict, decide
from tlx.advice.strategy import WHOLE, Strategy, row_of, strategies
from tlx.advice.trial import Trial
from tlx.advice.whole import DISAGREE, ahead, best_trial, start, terms
from tlx.config.cases import CASES, Auto
from tlx.features.learning_curve import Curve, Point
from tlx.features.profile import Profile

USUAL = 0.1  # standard deviation of the weights of gains, before anything is known
NOBODY = {"frozen": {"row": 0.01, "less": 0.0, "level": 0.01}}  # the experience of who has none
APART = np.geomspace(0.005, 0.1, 40)  # of which the likeliest are taken
FAR = 1.5  # standard deviations
LESS = np.arange(0.0, 2.01, 0.2)
ROUNDS = 20
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

    @cached_property
    def prospect(self) -> Prospect:
        """What it looks like to who has no experience."""
        return Prospect(self.evidence, NOBODY)

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
    tests = {row["task"]: int(row["test_images"]) for row in rows()}
    for line in lines():
        there = known.get((line["task"], line["seed"]), {})
        evidence = evidence_of(line, tests.get(line["task"], 0))
        every = tuple(strategies([row.place for row in evidence.profile.rows], evidence.images, _nobody()))
        if all(name_of(strategy) in there for strategy in every):
            trials = tuple(Trial(**trial) for trial in line["trials"])
            found.append(Known(line["task"], line["seed"], evidence, trials, every, there, line["seconds"]))
    return found


def evidence_of(line: Line, tests: int) -> Evidence:
    """Make evidence of what the file keeps of it, and how many test images there are."""
    plain, similar = line["curve"], line["similarity"]
    curve = None
    if plain:
        points = tuple(Point(**point) for point in plain["points"])
        curve = Curve(points, np.array([[plain["floor"], plain["scale"], plain["exponent"]]]))
    each = line["per_class"]["fewest"], line["per_class"]["most"]
    profile, random = Profile.read(line["profile"]), Profile.read(line["random"])
    logme = tuple(line["logme"])
    likeness = Similarity(**{key: similar[key] for key in ("worth", "depth", "pretrained", "random", "images")})
    judged = tuple(Judged(**one) for one in line["judged"])
    facts = line["images"], line["classes"], each, line["left_out"], line["copies"]
    return Evidence(*facts, profile, random, logme, likeness, curve, judged, line["judges"], tests)


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
    known: dict[str, Any] = {"frozen": _apart(tasks, weight)}
    tests = np.array([task.evidence.tests for task in tasks])
    for kind in WHOLE:
        begun = np.array([_begun(kind, task) for task in tasks])
        unit = np.array([scatter(float(one)) for one in begun])
        further = (ahead(task.prospect) for task in tasks)
        x = np.array(
            [terms(kind, *one) for one in zip(begun, (t.evidence.images for t in tasks), further, strict=True)]
        )
        y = np.array([task.truth[kind] for task in tasks]) - begun
        noise = DISAGREE * (1 - begun) / tests  # of a gain, as far as the test images are another sample
        weights, deviation, trusted = _learnt(x / unit[:, None], y / unit, weight, noise / unit**2)
        known[kind] = {"weights": [_short(one) for one in weights], "deviation": _short(deviation)}
        known[kind]["apart"] = _short(_tried(kind, tasks, unit, trusted))
    return known


def _learnt(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Fit what is gained; return the weights, how far gains lie apart beyond their noise, and how much each counts.

    A gain that is mostly noise counts less (the random effects of DerSimonian and Laird, 1986), and the weights are
    held to zero as far as ``USUAL`` ones and the gains' distances have it (ridge regression).
    """
    between = USUAL**2
    for _ in range(ROUNDS):
        trusted = weight * between / (between + noise)
        free = _weights(x, y, trusted, 0.0)
        between = max(float(np.average((y - x @ free) ** 2 - noise, weights=trusted)), LEAST**2)
    return _weights(x, y, trusted, between / USUAL**2), math.sqrt(between), trusted


def _weights(x: np.ndarray, y: np.ndarray, w: np.ndarray, ridge: float) -> np.ndarray:
    """Fit by least squares, held to zero a little."""
    solved: np.ndarray = np.linalg.solve(x.T @ (w[:, None] * x) + ridge * np.eye(x.shape[1]), x.T @ (w * y))
    return solved


def _tried(kind: str, tasks: Sequence[Known], unit: np.ndarray, trusted: np.ndarray) -> float:
    """How far trials lie from what came of whole trainings, beyond their own errors, in the ``unit`` of each task.

    As of a trial that sees as much as the whole training does.
    """
    found, weights = [], []
    for task, one, weight in zip(tasks, unit, trusted, strict=True):
        trial = best_trial(kind, task.trials)
        if trial is not None:
            gain = task.truth[kind] - _best(task)
            found.append(((trial.gain - gain) ** 2 - trial.standard_error**2) * trial.share / one**2)
            weights.append(weight)
    return float(np.sqrt(max(np.average(found, weights=weights), LEAST**2))) if found else 0.5


def _short(number: float) -> float:
    return round(float(number), 4)


def _frozen(task: Known) -> list[float]:
    """What came of every frozen trunk, in the order of the evidence."""
    rows = task.evidence.frozen
    came = {rows.index(row_of(s, rows)): task.accuracy(s) for s in task.strategies if s.kind == "frozen"}
    return [came[index] for index in range(len(rows))]


def _best(task: Known) -> float:
    """What came of the frozen trunk that is expected to be the best."""
    expected = [one.accuracy for one in task.prospect.frozen]
    return _frozen(task)[int(np.argmax(expected))]


def _begun(kind: str, task: Known) -> float:
    """What came of what a whole network starts from; of a random trunk, what its probes do."""
    deepest = len(task.evidence.profile.rows) - 1
    return start(kind, task.prospect) if kind == "scratch" else _frozen(task)[deepest]


def _apart(tasks: Sequence[Known], weight: np.ndarray) -> dict[str, float]:
    """How far tests lie from what is said of frozen trunks.

    ``row``: a depth beside the other depths of its task, beyond its errors, where the truth is likeliest. Of the depth
    that is expected to be the best, ``less``: by how many standard errors it is worse, and ``level``: how far it then
    lies from what is expected, beyond its errors; where the truth is likeliest again, but for tasks that lie far away,
    because their test images are from elsewhere: these count by how far, not by its square (Huber, 1964).
    """
    bare = {"less": 0.0, "level": 0.0}
    told = [(heard(task.evidence), np.array(_frozen(task))) for task in tasks]

    def likelihood(row: float) -> float:
        total = 0.0
        for (said, accuracies), share in zip(told, weight, strict=True):
            moved = shift(said, row)
            found = [weigh(*pair, moved, {**bare, "row": row}) for pair in said]
            off = accuracies - np.array([one.accuracy for one in found])
            deviation = np.array([math.sqrt(one.deviation**2 + row**2 * scatter(one.accuracy)) for one in found])
            total -= share * float(np.mean(((off - off.mean()) / deviation) ** 2 / 2 + np.log(deviation)))
        return total

    row = _short(max(APART, key=likelihood))
    best = []
    for said, accuracies in told:
        moved = shift(said, row)
        found = [weigh(*pair, moved, {**bare, "row": row}).accuracy for pair in said]
        best.append((said[int(np.argmax(found))], moved, float(accuracies[int(np.argmax(found))])))

    def likely(less: float, level: float) -> float:
        total, apart = 0.0, {"row": row, "less": less, "level": level}
        for task, (pair, moved, accuracy), share in zip(tasks, best, weight, strict=True):
            one = on_tests(weigh(*pair, moved, apart), task.evidence.tests)
            off = abs(accuracy - one.accuracy) / one.deviation
            total -= share * ((off**2 / 2 if off < FAR else FAR * (off - FAR / 2)) + math.log(one.deviation))
        return total

    less, level = max(product(LESS, APART), key=lambda pair: likely(*pair))
    return {"row": row, "less": _short(less), "level": _short(level)}


def advised(task: Known, known: Mapping[str, Any]) -> tuple[Verdict, Expected]:
    """Return what advice says of a task by some experience, and what it expects."""
    trials = task.trials if worth_trying(task.evidence, known) else ()
    verdict, expected = decide(task.strategies, task.evidence, trials, known)
    return verdict, expected[task.strategies.index(verdict.advised)]
