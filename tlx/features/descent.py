"""Descent: the minimum of a smooth, strictly convex function of many numbers, by its slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]  # a point to the slope there
MEMORY = 20  # steps that tell the curvature
TRIES = 20  # lengths of a step
SHORT, LONG = 0.9, 0.3  # shares of the first slope that a step may leave in front of it, and climb behind the minimum


@dataclass
class Memory:
    """Past steps and what they changed in the slope; for a minimisation that starts where another ended."""

    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, step: np.ndarray, change: np.ndarray) -> None:
        """Remember a step, unless it says nothing of a curvature."""
        if np.vdot(step, change) > 0:
            self.pairs = [*self.pairs, (step, change)][-MEMORY:]

    def stiffen(self, curvature: np.ndarray) -> None:
        """Take notice that the function has got ``curvature / 2 * point^2`` on top."""
        self.pairs = [(step, change + curvature * step) for step, change in self.pairs]
        self.pairs = [pair for pair in self.pairs if np.vdot(*pair) > 0]

    def direct(self, slope: np.ndarray, metric: np.ndarray) -> np.ndarray:
        """Return minus the slope times an estimate of the inverse curvature (Nocedal, 1980).

        ``metric`` is a first estimate of the curvature's diagonal; its size is mended by the last step.
        """
        direction, shares = -slope, []
        for step, change in reversed(self.pairs):
            shares.append(float(np.vdot(step, direction) / np.vdot(step, change)))
            direction = direction - shares[-1] * change
        direction = direction / metric
        if self.pairs:
            step, change = self.pairs[-1]
            direction *= float(np.vdot(step, change) / np.vdot(change, change / metric))
        for (step, change), share in zip(self.pairs, reversed(shares), strict=True):
            direction += (share - float(np.vdot(change, direction) / np.vdot(step, change))) * step
        return direction


def minimise(
    function: Function, start: np.ndarray, metric: np.ndarray, memory: Memory, tolerance: float, steps: int
) -> tuple[np.ndarray, bool]:
    """Return where no slope exceeds ``tolerance``, and whether that was reached within ``steps`` steps.

    L-BFGS (Liu and Nocedal, 1989). A step is long enough when it has left less than nine tenths of the slope along it,
    and not too long when the function climbs by less than three tenths of that: of a convex function that is all there
    is to ask, and no difference of two nearly equal values is ever taken.
    """
    point, slope = start, function(start)
    for _ in range(steps):
        if np.abs(slope).max() <= tolerance:
            return point, True
        direction = memory.direct(slope, metric)
        if np.vdot(direction, slope) >= 0:  # rounding has spoiled the memory
            memory.pairs = []
            direction = -slope / metric
        found = _step(function, point, direction, float(np.vdot(direction, slope)))
        if found is None:
            return point, False
        memory.add(found[0] - point, found[1] - slope)
        point, slope = found
    return point, bool(np.abs(slope).max() <= tolerance)


def _step(
    function: Function, point: np.ndarray, direction: np.ndarray, before: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a point along a direction, and the slope there; None where no length will do."""
    length, low, high = 1.0, 0.0, np.inf
    at_low, at_high = before, np.inf  # slopes along the direction
    for _ in range(TRIES):
        there = point + length * direction
        slope = function(there)
        along = float(np.vdot(slope, direction))
        if not np.isfinite(along):
            high, at_high = length, np.inf
        elif along < SHORT * before:
            low, at_low = length, along
        elif along > -LONG * before:
            high, at_high = length, along
        else:
            return there, slope
        if not np.isfinite(high):
            length *= 2
        elif np.isfinite(at_high):
            root = low + (high - low) * at_low / (at_low - at_high)
            length = min(max(root, low + 0.1 * (high - low)), high - 0.1 * (high - low))
        else:
            length = (low + high) / 2
    return None
