"""Linear probes, cross-validated: how well the head of a frozen case would do on some features, from training images.

A probe is what ``solver`` trains: L2-regularised multinomial logistic regression on standardised features. Folds
are fitted side by side, in the span of the features, by accelerated gradient descent in a metric that bounds the
curvature from above (Böhning and Lindsay, 1988; Nesterov, 1983, with the restarts of O'Donoghue and Candès, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tlx.one_thread import SMALL, one_thread
from tlx.randomness import seed_for

STRENGTHS = (1.0, 0.1, 0.01, 0.001, 0.0001)  # of mean cross entropy + strength / 2 * |W|^2, from strong to weak
STEPS = 30  # a strength, from the solution of the one before; more change hardly any prediction
CONVERGED = 1e-3  # relative length of a step
ALONE = 2  # folds, at most: each is fitted on its images alone, for most would be idle in the others


@dataclass(frozen=True)
class Probe:
    """Which images were classified rightly by heads that had not seen them (N, repeats), and at which L2 strength."""

    correct: np.ndarray
    strength: float


def deal(labels: np.ndarray, folds: int, repeats: int, seed: int) -> np.ndarray:
    """Deal images out to folds 0, 1, ..., once a repeat: (N, repeats).

    They are stratified: a class's counts in the folds differ by one at most, and so do the folds' sizes. Every image is
    held out once a repeat. A class with fewer images than folds is held out by so many folds only; where all classes
    are so small, there are fewer folds. A class's only image gets -1: it is never held out, for nothing would be left
    to learn the class from.
    """
    counts = np.bincount(labels)
    folds = min(folds, int(counts.max(initial=0)))
    fold = np.full((len(labels), repeats), -1)
    for repeat in range(repeats):
        dealt = 0
        for label in np.flatnonzero(counts > 1):
            members = np.flatnonzero(labels == label)
            generator = np.random.default_rng(seed_for(seed, "folds", repeat, int(label)))
            fold[generator.permutation(members), repeat] = (dealt + np.arange(len(members))) % folds
            dealt += len(members)
    return fold


def error_of(right: np.ndarray, labels: np.ndarray) -> float:
    """Return the standard error of the mean of ``right`` (N,), 0 to 1, of images that are drawn class by class.

    How far a class's images lie apart is what counts, not how far classes do. Two images more, one right and one wrong,
    keep six right of six from being a certainty (Laplace's rule).
    """
    _, own, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    mean, means = float(right.mean()), np.bincount(own, right) / sizes
    alone = sizes[own] == 1
    squares = np.where(alone, (right - mean) ** 2, (right - means[own]) ** 2)
    freedom = np.where(alone, 1.0, sizes[own] / np.maximum(sizes[own] - 1, 1))
    total = float((squares * freedom).sum()) + mean**2 + (1 - mean) ** 2
    return float(np.sqrt(total / (len(right) + 2) / len(right)))


def cross_validate(features: np.ndarray, labels: np.ndarray, fold: np.ndarray, strength: float | None = None) -> Probe:
    """Classify every image by a probe trained without its fold; take the strength that classifies most rightly.

    ``features`` (N, D), ``labels`` (N,), ``fold`` (N, repeats); where that is -1, an image is trained on in every fold
    and counts as wrong. Features are standardised over all images, which uses no label. The strength is shared by all
    folds; that it is chosen by what it is then judged by makes the share a little too high, for all features alike,
    and much too high where few images judge: there, give one of ``STRENGTHS`` that was chosen by others.
    """
    folds, classes = int(fold.max()) + 1, int(labels.max()) + 1
    columns = fold.shape[1] * folds * classes  # of heads side by side
    with one_thread(len(labels) * min(features.shape) * columns < SMALL):
        return _cross_validated(features, labels, fold, strength)


def _cross_validated(features: np.ndarray, labels: np.ndarray, fold: np.ndarray, chosen: float | None) -> Probe:
    inputs, curvature = _rotated(features)
    targets = torch.nn.functional.one_hot(torch.from_numpy(labels)).float().T.contiguous()
    folds = int(fold.max()) + 1
    held = np.argwhere(fold >= 0)
    image, repeat = torch.from_numpy(held).unbind(1)
    own = repeat * folds + torch.from_numpy(fold)[image, repeat]
    sides = [_Side(inputs, targets, curvature, learns) for learns in _learners(fold, folds)]
    truth = targets[:, image].argmax(0)
    best = Probe(np.zeros(fold.shape, dtype=bool), STRENGTHS[0])
    for strength in STRENGTHS:
        for side in sides:
            side.fit(strength)
        if chosen not in (None, strength):
            continue
        right = torch.cat([side.logits(inputs) for side in sides], 1)[:, own, image].argmax(0) == truth
        correct = np.zeros(fold.shape, dtype=bool)
        correct[tuple(held.T)] = right.numpy()
        if strength == chosen:
            return Probe(correct, strength)
        if correct.sum() > best.correct.sum():
            best = Probe(correct, strength)
    return best


def _learners(fold: np.ndarray, folds: int) -> list[torch.Tensor]:
    """Say which images the heads of each fold learn from (F, N), those in one tensor that are fitted side by side.

    F = repeats * folds.
    """
    every = torch.from_numpy(fold[:, :, None] != np.arange(folds)).flatten(1).float().T.contiguous()
    return list(every.split(1)) if folds <= ALONE else [every]


class _Side:
    """Heads of several folds (K, F, R), fitted side by side on the images that any of them ``learns`` from (F, N)."""

    def __init__(
        self, inputs: torch.Tensor, targets: torch.Tensor, curvature: torch.Tensor, learns: torch.Tensor
    ) -> None:
        used = learns.any(0)
        learns = learns[:, used]
        self.inputs, self.targets, self.curvature = inputs[used], targets[:, used].contiguous(), curvature
        self.count = learns.sum(1, keepdim=True)
        self.share = learns / self.count
        self.solution = torch.zeros(len(targets), len(learns), inputs.shape[1])

    def fit(self, strength: float) -> None:
        """Go on to a strength, from the solution of the one before."""
        penalty = torch.full_like(self.curvature, strength)
        penalty[0] = 0.0  # the intercept
        # Half the features' second moments bound the curvature of the loss, whatever the weights are.
        metric = self.curvature / (2 * self.count) + penalty
        self.solution = _minimise(self.inputs, self.targets, self.share, penalty, metric, self.solution)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the heads say of images (N, R): (K, F, N)."""
        return (self.solution.flatten(0, 1) @ inputs.T).view(*self.solution.shape[:2], len(inputs))


def _rotated(features: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardise, rotate into the span of the features, and put ones in front: (N, 1 + R), and the squares' sums.

    A rotation changes neither the penalty nor what can be predicted; there are at most N - 1 dimensions to fit, and
    their second moments are a diagonal.
    """
    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale[scale <= 1e-6 * max(float(scale.max()), 1e-12)] = 1.0  # a feature that never varies says nothing
    x = (features - mean) / scale
    if x.shape[1] <= len(x):
        values, vectors = np.linalg.eigh(x.T @ x)
        x = x @ vectors
    else:
        values, vectors = np.linalg.eigh(x @ x.T)
        x = vectors * np.sqrt(values.clip(0))
    kept = values > 1e-7 * max(values[-1], 1e-12)
    ones = np.ones((len(x), 1))
    inputs = torch.from_numpy(np.hstack([ones, x[:, kept]])).float()
    return inputs, torch.from_numpy(np.concatenate([[float(len(x))], values[kept]])).float()


def _minimise(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    share: torch.Tensor,
    penalty: torch.Tensor,
    metric: torch.Tensor,
    start: torch.Tensor,
) -> torch.Tensor:
    """Minimise every fold's loss; return the weights (K, F, R).

    Classes stand first and images last, for the sake of the softmax, which is slow over the last of several dimensions:
    ``inputs`` (N, R), ``targets`` (K, N), an image's ``share`` in a fold's loss (F, N), ``metric`` (F, R).
    """
    forwards = inputs.T.contiguous()
    now = ahead = start
    age = torch.ones(1, start.shape[1], 1)  # of the momentum, a fold
    for _ in range(STEPS):
        logits = (ahead.flatten(0, 1) @ forwards).view(*start.shape[:2], len(inputs))
        error = (torch.softmax(logits, 0) - targets[:, None]) * share
        gradient = (error.flatten(0, 1) @ inputs).view_as(ahead) + penalty * ahead
        following = ahead - gradient / metric
        step = following - now
        uphill = (gradient * step).sum((0, 2), keepdim=True) > 0
        older = (1 + (1 + 4 * age**2).sqrt()) / 2
        ahead = torch.where(uphill, following, following + (age - 1) / older * step)
        age = torch.where(uphill, torch.ones_like(age), older)
        now = following
        if step.norm() < CONVERGED * now.norm():
            break
    return now
