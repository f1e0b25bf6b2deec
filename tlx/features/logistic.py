"""Logistic: the loss of a linear classifier on rows in memory or on disk, and its minima along L2 strengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from tlx.features.chunks import Features, Scale, chunks
from tlx.features.descent import Memory, minimise

TOLERANCE = 1e-5  # of every slope, as scikit-learn has it
SPREAD = 1e-6  # at least; a curvature of zero would be no metric


class Block(NamedTuple):
    """Inputs (n, D) float32, what each row counts (n,), and that at its class and 0 elsewhere (P, n)."""

    inputs: torch.Tensor
    share: torch.Tensor
    goal: torch.Tensor


def block_of(inputs: torch.Tensor, targets: torch.Tensor, share: torch.Tensor, classes: int) -> Block:
    """Put together rows (n, D), their classes (n,) and what each of them counts (n,)."""
    goal = torch.zeros(classes, len(inputs)).scatter_(0, targets[None], share[None])
    return Block(inputs, share, goal)


def streamed(
    features: Features, scale: Scale, targets: torch.Tensor, share: torch.Tensor, classes: int
) -> Iterator[Block]:
    """Yield features chunk by chunk, centred but not scaled: that is left to the weights."""
    mean, buffer = scale.mean.astype(np.float32), torch.empty(0)
    for where, rows in chunks(features):
        if len(buffer) < len(rows):
            buffer = torch.empty(rows.shape)
        inputs = buffer[: len(rows)]
        np.subtract(rows, mean, out=inputs.numpy())
        yield block_of(inputs, targets[where], share[where], classes)


class Loss:
    """Cross entropy of softmax(W x + b), each row times what it counts; its slope at points (P, 1 + R).

    A point is the bias beside the weights on directions of a span. ``onto`` (R, D) takes weights from there to what the
    blocks hold. Slopes are centred over classes, which no penalised minimum needs to tell apart: two classes stay
    exactly symmetrical. ``spread`` is the mean p (1 - p) of a class at the last point, the curvature's factor.
    """

    def __init__(self, blocks: Callable[[], Iterable[Block]], classes: int, onto: np.ndarray | None = None) -> None:
        self.blocks = blocks
        self.classes = classes
        self.onto = onto
        self.spread = 1 / classes

    def __call__(self, point: np.ndarray) -> np.ndarray:
        """Return the slope."""
        weight = point[:, 1:] if self.onto is None else point[:, 1:] @ self.onto
        layer = torch.from_numpy(weight.astype(np.float32))
        bias = torch.from_numpy(point[:, :1].astype(np.float32))
        slope, slope_of_bias, spread = np.zeros(weight.shape), np.zeros(len(point)), 0.0
        for inputs, share, goal in self.blocks():  # class by row: a skinny product is several times as fast this way
            chance = torch.addmm(bias, layer, inputs.T).softmax(0)
            error = chance * share
            spread += float(error.sum() - torch.vdot(error.flatten(), chance.flatten()))
            error -= goal
            slope += (error @ inputs).numpy()
            slope_of_bias += error.sum(1, dtype=torch.float64).numpy()
        self.spread = spread / max(self.classes - 1, 1)
        if self.onto is not None:
            slope = slope @ self.onto.T
        whole = np.concatenate([slope_of_bias[:, None], slope], 1)
        return whole - whole.mean(0)


class Walk:
    """The minima of a loss + strength / 2 * |W|^2, strength after strength.

    A minimisation starts where the last two minima point to, on a logarithmic scale of strengths, and knows the
    curvature that those before it have met. ``moments`` (R,) are the inputs' second moments in the span: times the
    spread, they are the first estimate of the curvature. ``loss`` may be replaced on the way by one much like it, and
    ``tolerance``, which no slope exceeds at a minimum.
    """

    def __init__(self, loss: Loss, moments: np.ndarray) -> None:
        self.loss = loss
        self.tolerance = TOLERANCE
        self.moments = np.concatenate([[1.0], moments])
        self.memory = Memory()
        self.visited: list[tuple[float, np.ndarray]] = []

    def to(self, strength: float, steps: int, start: np.ndarray | None = None) -> tuple[np.ndarray, bool]:
        """Return the minimum for a strength, and whether it was reached in so many steps."""
        penalty = np.full(len(self.moments), strength)
        penalty[0] = 0.0  # the bias is free
        if self.visited:
            self.memory.stiffen(np.where(penalty > 0, strength - self.visited[-1][0], 0.0))
        metric = max(self.loss.spread, SPREAD) * self.moments + penalty
        start = self._ahead(strength) if start is None else start
        point, converged = minimise(
            lambda at: self.loss(at) + penalty * at, start, metric, self.memory, self.tolerance, steps
        )
        self.visited.append((strength, point))
        return point, converged

    def _ahead(self, strength: float) -> np.ndarray:
        if len(self.visited) < 2:
            return self.visited[-1][1] if self.visited else np.zeros((self.loss.classes, len(self.moments)))
        (older, before), (old, last) = self.visited[-2:]
        ratio = math.log(strength / old) / math.log(old / older) if old != older else 0.0
        return last + ratio * (last - before)
