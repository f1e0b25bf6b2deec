"""``solver=lbfgs``: L2-regularised multinomial logistic regression, to convergence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from tlx.config.groups import LbfgsSolver
from tlx.features.bank import Bank
from tlx.features.chunks import classify, gather, scale_of
from tlx.features.judge import among_all, best_of, judged, risen
from tlx.features.logistic import Loss, Walk, block_of, streamed
from tlx.features.solution import LinearSolution, Row
from tlx.features.span import span_of
from tlx.randomness import seed_for

WHOLE = 2**25  # numbers, 128 MB: up to so many, the path is taken over all rows
LOOSE = 1e-4  # of every slope on more rows than that; chance moves it by 2e-3 in 300,000 rows, 1e-3 in a million
RARE = 10  # rows of every class are in a part of them, if there are as many


class Trial(NamedTuple):
    """The minimum for a strength: where it is (P, 1 + R), the head on raw features that it is, and its row."""

    point: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    row: Row


Attempt = Callable[[float, np.ndarray | None], Trial]  # a strength and where to start


def solve_lbfgs(
    train: Bank, val: Bank, num_classes: int, config: LbfgsSolver, class_weights: torch.Tensor | None
) -> LinearSolution:
    """Minimise mean (class weight * cross entropy) + strength / 2 * |W|^2 on standardised features.

    Features are standardised with the training set's mean and deviation, which are then folded into the head. The
    strength with the lowest validation loss is taken. The path goes from strong to weak, each solution starting where
    those before it point to; it ends early once the validation loss has risen three times in a row.

    With more than 32 million numbers, the path is taken over a random part of the rows, of that size. All rows are
    then solved once, from where the path was, for the strength that it chose times the part's share of the rows (the
    nearest of the list): of a given penalty, twice the rows need half in the mean. They are read in chunks, some
    twenty times. ``rows`` in the path tells the two apart.
    """
    present, labels = np.unique(train.labels, return_inverse=True)
    targets, classes = torch.from_numpy(labels), len(present)
    counts = torch.ones(len(targets)) if class_weights is None else class_weights[train.labels]
    scale, part = scale_of(train.features), _part(train.features.shape, labels)
    span, inputs = span_of(torch.from_numpy(scale.standardise(gather(train.features, part))))
    block = block_of(inputs, targets[part], counts[part] / len(inputs), classes)
    walk = Walk(Loss(lambda: [block], classes), span.moments)

    def attempt(strength: float, start: np.ndarray | None) -> Trial:
        point, converged = walk.to(strength, config.max_iterations, start)
        head = among_all(*scale.unfold(span.outside(point[:, 1:]), point[:, 0]), present, num_classes)
        told = judged(classify(val.features, *head), val.labels)
        return Trial(point, *head, {"strength": strength, **told, "converged": converged})

    trials = _descend(attempt, config.strengths)
    rows = [trial.row for trial in trials]
    if len(inputs) < len(targets):
        share, onto = counts / len(targets), span.directions.double().numpy().T / scale.deviation
        walk.loss = Loss(lambda: streamed(train.features, scale, targets, share, classes), classes, onto)
        walk.tolerance = LOOSE
        strength, start = _scaled(config.strengths, trials, len(inputs) / len(targets))
        last = attempt(strength, start)
        rows = [{**row, "rows": len(inputs)} for row in rows] + [{**last.row, "rows": len(targets)}]
        trials = [last]
    best = trials[best_of([trial.row for trial in trials])]
    return LinearSolution(best.weight, best.bias, float(best.row["strength"]), tuple(rows))


def _part(shape: tuple[int, ...], labels: np.ndarray) -> np.ndarray:
    """Choose the rows of the path, by index: all of them, or a random part in which no class is missing."""
    count, width = shape
    most = max(WHOLE // width, 2 * width)
    if count <= most:
        return np.arange(count)
    order = np.random.default_rng(seed_for(0, "part")).permutation(count)
    grouped = order[np.argsort(labels[order], kind="stable")]
    first = np.concatenate([[0], np.cumsum(np.bincount(labels))[:-1]])
    rare = [grouped[start : start + RARE][labels[grouped[start : start + RARE]] == k] for k, start in enumerate(first)]
    return np.unique(np.concatenate([order[:most], *rare]))


def _descend(attempt: Attempt, strengths: list[float]) -> list[Trial]:
    """Try strengths from strong to weak, as long as there is hope."""
    trials: list[Trial] = []
    for strength in sorted(strengths, reverse=True):
        trials.append(attempt(strength, None))
        if risen([trial.row for trial in trials]):
            break
    return trials


def _scaled(strengths: list[float], trials: list[Trial], share: float) -> tuple[float, np.ndarray]:
    """Return the strength for all rows, of which a ``share`` was tried, and where to start."""
    chosen = float(trials[best_of([trial.row for trial in trials])].row["strength"])
    strength = _nearest(strengths, chosen * share)
    known = [float(trial.row["strength"]) for trial in trials]
    return strength, trials[known.index(_nearest(known, strength))].point


def _nearest(strengths: list[float], wanted: float) -> float:
    return min(strengths, key=lambda strength: abs(math.log(strength / wanted)))
