"""``solver=ridge``: L2-regularised least squares on one-hot targets, in closed form."""

from __future__ import annotations

import numpy as np
import torch

from tlx.config.groups import RidgeSolver
from tlx.features.bank import Bank
from tlx.features.chunks import Features, Scale, chunks, scale_of
from tlx.features.judge import best_of, calibrated
from tlx.features.solution import LinearSolution, Row
from tlx.features.span import Span, from_moments, span_of


def solve_ridge(
    train: Bank, val: Bank, num_classes: int, config: RidgeSolver, class_weights: torch.Tensor | None
) -> LinearSolution:
    """Minimise mean (class weight * |W x + b - onehot(y)|^2) + strength * |W|^2 on standardised features.

    One eigendecomposition of the features' second moments, gathered in one pass over chunks, solves it for all
    strengths (of the rows' products instead, where there are fewer rows than features). Scores become probabilities by
    one factor, fitted on validation data for each strength; the strength with the lowest validation loss is taken.
    """
    present, targets = np.unique(train.labels, return_inverse=True)
    weights = np.ones(len(targets)) if class_weights is None else class_weights.double().numpy()[train.labels]
    scale = scale_of(train.features)
    share = weights / weights.sum()
    whole = np.bincount(targets, weights=share)  # the weighted share of each class, which the targets are centred by
    pass_ = _dual if len(targets) < train.features.shape[1] else _primal
    span, product, centre = pass_(train.features, scale, targets, share, whole)
    heads: list[tuple[np.ndarray, np.ndarray]] = []
    path: list[Row] = []
    for strength in sorted(config.strengths, reverse=True):
        weight = span.outside(product / (span.moments + strength * len(targets) / weights.sum()))
        found = scale.unfold(weight, whole - weight @ centre)
        weight, bias, row = calibrated(*found, present, num_classes, val)
        heads.append((weight, bias))
        path.append({"strength": strength, **row})
    best = best_of(path)
    return LinearSolution(*heads[best], float(path[best]["strength"]), tuple(path))


def _primal(
    features: Features, scale: Scale, targets: np.ndarray, share: np.ndarray, whole: np.ndarray
) -> tuple[Span, np.ndarray, np.ndarray]:
    """Return the span of the weighted inputs, their products with the targets in it (P, R), and their mean (D,)."""
    width = features.shape[1]
    moments, sums, centre = (
        torch.zeros(width, width, dtype=torch.float64),
        np.zeros((len(whole), width)),
        np.zeros(width),
    )
    for where, rows in chunks(features):
        inputs = torch.from_numpy(scale.standardise(rows))
        counts = torch.from_numpy(share[where].astype(np.float32))[:, None]
        goal = torch.nn.functional.one_hot(torch.from_numpy(targets[where]), len(whole)) * counts
        moments += inputs.T @ (inputs * counts)
        sums += (goal.T @ inputs).double().numpy()
    centre = sums.sum(0)
    moments -= torch.from_numpy(np.outer(centre, centre))
    span = from_moments(moments)
    product = sums - np.outer(whole, centre)
    return span, product @ span.directions.numpy(), centre


def _dual(
    features: Features, scale: Scale, targets: np.ndarray, share: np.ndarray, whole: np.ndarray
) -> tuple[Span, np.ndarray, np.ndarray]:
    """Return the same of so few rows that they fit into memory, and into fewer dimensions."""
    inputs = scale.standardise(features[:]).astype(np.float64)
    centre = share @ inputs
    roots = np.sqrt(share * len(share))[:, None]
    span, rotated = span_of(torch.from_numpy((inputs - centre) * roots))
    goal = (np.eye(len(whole))[targets] - whole) * roots / len(share)
    return span, goal.T @ rotated.numpy(), centre
