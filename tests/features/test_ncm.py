"""``solver=ncm``: the linear layer says which mean is nearest."""

from __future__ import annotations

import numpy as np
import torch

from tests.features.clusters import bank
from tlx.features.ncm import solve_ncm


def test_the_nearest_mean_wins() -> None:
    train, test = bank(60, 7, 4, spread=2.0), bank(200, 7, 4, seed=1, spread=2.0)
    solution = solve_ncm(train, test, 4)
    mean, deviation = train.features.mean(0), train.features.std(0)
    x, y = (train.features - mean) / deviation, (test.features - mean) / deviation
    means = np.stack([x[train.labels == k].mean(0) for k in range(4)])
    distances = ((y[:, None] - means) ** 2).sum(2)
    logits = test.features @ solution.weight.T + solution.bias
    assert np.array_equal(logits.argmax(1), distances.argmin(1))
    assert not np.array_equal(distances.argmin(1), ((y[:, None] - means[::-1]) ** 2).sum(2).argmin(1))
    # Differences of logits are differences of half squared distances, times the factor.
    sharpness = float(solution.path[0]["sharpness"])
    expected = -sharpness / 2 * (distances - distances.mean(1, keepdims=True))
    np.testing.assert_allclose(logits - logits.mean(1, keepdims=True), expected, atol=1e-3)


def test_the_factor_suits_validation_data() -> None:
    train, val = bank(60, 7, 4, spread=2.0), bank(200, 7, 4, seed=1, spread=2.0)
    solution = solve_ncm(train, val, 4)
    labels = torch.from_numpy(val.labels)

    def loss(factor: float) -> float:
        logits = torch.from_numpy(val.features @ solution.weight.T + solution.bias) * factor
        return float(torch.nn.functional.cross_entropy(logits, labels))

    assert abs(loss(1.0) - float(solution.path[0]["val_loss"])) < 1e-5
    assert loss(1.0) < min(loss(0.8), loss(1.25))
    assert solution.strength is None
    assert solution.chosen == {}
