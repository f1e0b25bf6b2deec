"""``solver=ridge``: the closed form is the minimum, whichever way it is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.features.clusters import bank
from tlx.config.groups import RidgeSolver
from tlx.features.bank import Bank
from tlx.features.ridge import solve_ridge
from tlx.features.solution import LinearSolution


def one(train: Bank, classes: int, strength: float, weights: torch.Tensor | None = None) -> LinearSolution:
    return solve_ridge(train, train, classes, RidgeSolver(strengths=[strength]), weights)


@pytest.mark.parametrize(("count", "dims"), [(90, 6), (20, 50)])
@pytest.mark.parametrize("strength", [3.0, 0.1, 0.001])
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn_agrees(count: int, dims: int, strength: float, weighted: bool) -> None:
    from sklearn.linear_model import Ridge

    train = bank(count, dims, 3)
    weights = torch.tensor([0.5, 1.0, 3.0]) if weighted else None
    solution = one(train, 3, strength, weights)
    x = (train.features - train.features.mean(0, dtype=np.float64)) / train.features.std(0, dtype=np.float64)
    images = None if weights is None else weights.double().numpy()[train.labels]
    theirs = Ridge(alpha=strength * count, solver="cholesky").fit(x, np.eye(3)[train.labels], sample_weight=images)
    expected = theirs.predict(x)
    sharpness = float(solution.path[0]["sharpness"])
    ours = (train.features @ solution.weight.T + solution.bias) / sharpness
    np.testing.assert_allclose(ours, expected - expected.mean(1, keepdims=True), atol=1e-3)
    wrong = Ridge(alpha=strength * count * 100).fit(x, np.eye(3)[train.labels], sample_weight=images).predict(x)
    assert np.abs(ours - wrong + wrong.mean(1, keepdims=True)).max() > 1e-3


def test_the_strength_is_the_one_with_the_lowest_validation_loss() -> None:
    train, val = bank(60, 40, 3, spread=3.0), bank(200, 40, 3, seed=1, spread=3.0)
    solution = solve_ridge(train, val, 3, RidgeSolver(), None)
    losses = [row["val_loss"] for row in solution.path]
    assert [row["strength"] for row in solution.path] == RidgeSolver().strengths
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1  # the question had two sides
    assert solution.strength == RidgeSolver().strengths[best]
    logits = torch.from_numpy(val.features @ solution.weight.T + solution.bias)
    loss = float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(val.labels)))
    assert loss == pytest.approx(losses[best], abs=1e-4)
