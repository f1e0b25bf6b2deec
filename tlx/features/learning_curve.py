"""Learning curve: what a linear probe gets right with an eighth, a quarter, a half and all of the labels, and beyond.

Errors fall as floor + scale * n^-exponent (Cortes et al., 1994; Hestness et al., 2017), fitted to measured points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlx.features.probe import cross_validate, deal
from tlx.randomness import seed_for

SHARES = (8, 4, 2, 1)  # one of so many images
FEWEST = 2  # images a class that a subset may have on average: of fewer, nothing can be held out
FOLDS = 5
HELD = 1000  # images held out are enough for a point
EXPONENTS = np.linspace(0.05, 1.0, 39)
DRAWS = 400  # of the points' errors, for the interval
AHEAD, DRAWN = 10, 24  # a drawing goes to so many times the images, in so many points
LEAST_ERROR = 1e-3  # standard error of a point: no measurement is free of one


@dataclass(frozen=True)
class Point:
    """Trained on ``images`` on average: the accuracy on others, and its standard error."""

    images: float
    accuracy: float
    standard_error: float


@dataclass(frozen=True)
class Curve:
    """Points from few images to many, and the curve through them, with ``DRAWS`` others that fit as well.

    ``fits`` (1 + DRAWS, 3) are floor, scale and exponent; the first is that of the points themselves.
    """

    points: tuple[Point, ...]
    fits: np.ndarray

    def accuracy(self, images: float) -> float:
        """Return the accuracy to be expected with so many images."""
        floor, scale, exponent = self.fits[0].tolist()
        return float(min(max(1 - floor - scale * images**-exponent, 0.0), 1.0))

    def at(self, images: float, coverage: float = 0.9) -> tuple[float, float, float]:
        """Return the same, and the ends of its interval."""
        floor, scale, exponent = self.fits.T
        accuracy = np.clip(1 - floor - scale * images**-exponent, 0, 1)
        low, high = np.quantile(accuracy, [(1 - coverage) / 2, (1 + coverage) / 2])
        return float(accuracy[0]), float(min(low, accuracy[0])), float(max(high, accuracy[0]))

    def plain(self) -> dict[str, Any]:
        """Return what a file tells of it."""
        floor, scale, exponent = self.fits[0].tolist()
        points = [{"images": p.images, "accuracy": p.accuracy, "standard_error": p.standard_error} for p in self.points]
        reach = np.geomspace(self.points[0].images, AHEAD * self.points[-1].images, DRAWN)
        drawn = [
            dict(zip(("images", "accuracy", "low", "high"), (n, *self.at(n)), strict=True)) for n in reach.tolist()
        ]
        return {"points": points, "floor": floor, "scale": scale, "exponent": exponent, "drawn": drawn}


def learning_curve(
    features: np.ndarray, labels: np.ndarray, seed: int, folds: int = FOLDS, last: Point | None = None
) -> Curve | None:
    """Cross-validate probes on nested, stratified subsets of ``features`` (N, D) and ``labels`` (N,); fit a curve.

    Small subsets are drawn several times, so that every point rests on about as many held-out images, or on ``HELD``.
    ``last``: the point of all images, where it is known already. None where not even half of the images are enough to
    cross-validate.
    """
    points = []
    for share in SHARES:
        if len(labels) < share * FEWEST * len(np.unique(labels)):
            continue
        if share == 1 and last is not None:
            points.append(last)
            continue
        count = min(share, math.ceil(HELD * share / len(labels)))
        draws = [_held_out(features, labels, share, draw, seed, folds) for draw in range(count)]
        right = np.concatenate([correct for correct, _ in draws])
        trained = float(np.mean([images for _, images in draws]))
        error = max(float(right.std()) / np.sqrt(len(right)), LEAST_ERROR)
        points.append(Point(trained, float(right.mean()), error))
    return fitted(points, seed) if len(points) > 1 else None


def nested(labels: np.ndarray, draw: int, seed: int) -> np.ndarray:
    """Order images so that the first so many of them are a stratified subset, whatever their number."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        generator = np.random.default_rng(seed_for(seed, "nested", draw, int(label)))
        place[generator.permutation(members)] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(place, kind="stable")


def fitted(points: Sequence[Point], seed: int) -> Curve:
    """Fit a curve to points, and others to points moved by their standard errors."""
    images = np.array([point.images for point in points])
    errors = np.array([1 - point.accuracy for point in points])
    spread = np.array([point.standard_error for point in points])
    noise = np.random.default_rng(seed_for(seed, "curve")).normal(size=(DRAWS, len(points)))
    return Curve(tuple(points), _fit(images, np.vstack([errors, errors + noise * spread]), spread))


def _fit(images: np.ndarray, errors: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Fit floor >= 0, scale >= 0 and exponent to every row of ``errors`` (R, P) by weighted least squares: (R, 3)."""
    weight = 1 / spread**2
    best, loss = np.zeros((len(errors), 3)), np.full(len(errors), np.inf)
    for exponent in EXPONENTS:
        x = images**-exponent
        mean_x, mean = np.average(x, weights=weight), np.average(errors, axis=1, weights=weight)
        slope = ((errors - mean[:, None]) * (x - mean_x) * weight).sum(1) / ((x - mean_x) ** 2 * weight).sum()
        floor = mean - slope * mean_x
        through_zero = (errors * x * weight).sum(1) / (x**2 * weight).sum()
        flat = slope < 0
        slope, floor = np.where(flat, 0.0, slope), np.where(flat, mean, floor)
        low = floor < 0
        slope, floor = np.where(low, through_zero, slope).clip(0), floor.clip(0)
        found = ((errors - floor[:, None] - slope[:, None] * x) ** 2 * weight).sum(1)
        better = found < loss
        loss = np.where(better, found, loss)
        rows = np.stack([floor, slope, np.full(len(errors), exponent)], 1)
        best = np.where(better[:, None], rows, best)
    return best


def _held_out(
    features: np.ndarray, labels: np.ndarray, share: int, draw: int, seed: int, folds: int
) -> tuple[np.ndarray, float]:
    """Cross-validate one subset: what was right of each image held out, and how many images were trained on."""
    subset = nested(labels, draw, seed)[: len(labels) // share]
    _, own = np.unique(labels[subset], return_inverse=True)
    fold = deal(own, folds, 1, seed)
    held = fold[:, 0] >= 0
    if not held.any():
        return np.zeros(0), float(len(subset))
    probe = cross_validate(features[subset], own, fold)
    return probe.correct[held, 0].astype(float), len(subset) - held.sum() / (int(fold.max()) + 1)
