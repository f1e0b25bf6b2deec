"""The solver of frozen cases: L2-regularised multinomial logistic regression, trained to convergence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tlx.config.groups import LbfgsSolver
from tlx.features.bank import Bank


@dataclass(frozen=True)
class Solution:
    """A linear head on raw features, the strength that validation chose, and the path it was chosen from.

    ``path`` rows: strength, validation loss, validation accuracy, and whether the solver converged.
    """

    weight: np.ndarray  # (K, D)
    bias: np.ndarray  # (K,)
    strength: float
    path: tuple[dict[str, float | bool], ...]


def solve(
    train: Bank, val: Bank, num_classes: int, config: LbfgsSolver, class_weights: torch.Tensor | None
) -> Solution:
    """Minimise mean cross entropy + strength / 2 * |W|^2 on standardised features, for each strength.

    Features are standardised with the training set's mean and deviation, which are then folded into the head. The
    strength with the lowest validation loss is taken. The path goes from strong to weak, each solution starting from
    the one before.
    """
    features, val_features = np.asarray(train.features), np.asarray(val.features)
    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale[scale <= 1e-6 * max(float(scale.max()), 1e-12)] = 1.0  # a feature that never varies says nothing
    inputs = (features - mean) / scale
    weights = None if class_weights is None else class_weights.double().numpy()[train.labels]
    from sklearn.exceptions import ConvergenceWarning  # an eighth of the start-up of runs that solve nothing
    from sklearn.linear_model import LogisticRegression

    present = np.unique(train.labels)
    # Two classes are one logit to scikit-learn; as two symmetric ones its |W|^2 is half as large.
    count = len(inputs) / (2 if len(present) == 2 else 1)
    model = LogisticRegression(max_iter=config.max_iterations, tol=1e-5, warm_start=True)
    rows: list[dict[str, float | bool]] = []
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for strength in sorted(config.strengths, reverse=True):
        model.set_params(C=1.0 / (strength * count))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(inputs, train.labels, sample_weight=weights)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        weight, bias = _unfolded(model, present, num_classes, mean, scale)
        logits = torch.from_numpy(val_features @ weight.T.astype(np.float32) + bias.astype(np.float32))
        labels = torch.from_numpy(val.labels)
        loss = float(F.cross_entropy(logits, labels))
        accuracy = float((logits.argmax(1) == labels).float().mean())
        rows.append({"strength": strength, "val_loss": loss, "val_accuracy": accuracy, "converged": converged})
        if best is None or loss < min(float(row["val_loss"]) for row in rows[:-1]):
            best = (strength, weight, bias)
    assert best is not None
    return Solution(best[1], best[2], best[0], tuple(rows))


def _unfolded(
    model: Any, present: np.ndarray, num_classes: int, mean: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (K, D) and bias (K,) for raw features; a class without training images is never predicted."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(present) == 2:
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercepts = np.hstack([-intercepts, intercepts]) / 2
    weight = np.zeros((num_classes, coefficients.shape[1]))
    bias = np.full(num_classes, -1e4)
    weight[present] = coefficients / scale
    bias[present] = intercepts - weight[present] @ mean
    return weight, bias


def install(solution: Solution, linear: nn.Linear) -> None:
    """Put a solution into a head's layer."""
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(solution.weight))
        linear.bias.copy_(torch.from_numpy(solution.bias))
