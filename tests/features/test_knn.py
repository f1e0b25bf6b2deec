"""``solver=knn``: votes as in DINO's protocol, k by validation, and a size that is told before it is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.features.clusters import bank, logits_of
from tlx.config.groups import KnnSolver
from tlx.errors import InputError
from tlx.features.bank import Bank
from tlx.features.knn import solve_knn


def by_hand(train: Bank, query: np.ndarray, k: int, temperature: float, classes: int) -> np.ndarray:
    """Count the votes of one image's neighbours, one after another."""
    rows = train.features / np.linalg.norm(train.features, axis=1, keepdims=True)
    cosines = rows @ (query / np.linalg.norm(query))
    nearest = np.argsort(-cosines)[:k]
    votes = np.zeros(classes)
    for index in nearest:
        votes[train.labels[index]] += np.exp((cosines[index] - cosines[nearest[0]]) / temperature)
    return votes


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_shares_of_votes_are_their_formula(temperature: float) -> None:
    train, val, test = (bank(80, 6, 3, seed, 3.0) for seed in range(3))
    solution = solve_knn(train, val, 3, KnnSolver(temperature=temperature), None)
    logits = logits_of(solution, test.features, 3).numpy() / solution.sharpness
    for index in range(20):
        votes = by_hand(train, test.features[index], solution.k, temperature, 3)
        shares = np.log((votes + 1 / 3) / (votes.sum() + 1))
        np.testing.assert_allclose(logits[index], shares - shares.mean(), atol=2e-3)
    wrong = by_hand(train, test.features[0], solution.k + 3, temperature, 3)
    wrong = np.log((wrong + 1 / 3) / (wrong.sum() + 1))
    assert np.abs(logits[0] - wrong + wrong.mean()).max() > 2e-3


def test_k_is_the_one_with_the_lowest_validation_loss() -> None:
    train, val = bank(90, 6, 3, spread=3.0), bank(300, 6, 3, seed=1, spread=3.0)
    config = KnnSolver(neighbours=[20, 1, 5, 500, 90, 5], temperature=0.01)
    solution = solve_knn(train, val, 3, config, None)
    assert [row["k"] for row in solution.path] == [1, 5, 20, 90]  # in order, once, and no more than there are
    losses = [row["val_loss"] for row in solution.path]
    best = int(np.argmin(losses))
    assert 0 < best < 3  # the question had two sides
    assert solution.k == solution.path[best]["k"]
    assert solution.chosen == {"k": solution.k}
    logits = logits_of(solution, val.features, 3)
    loss = float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(val.labels)))
    assert loss == pytest.approx(losses[best], abs=1e-5)


def test_features_too_many_to_store_are_refused() -> None:
    train = bank(1000, 50, 3)
    assert solve_knn(train, train, 3, KnnSolver(most_gigabytes=2.1e-4), None).rows.shape == (1000, 50)
    with pytest.raises(InputError, match=r"would keep 1,000 x 50 features in the model, 0.0 GB; choose solver=lbfgs"):
        solve_knn(train, train, 3, KnnSolver(most_gigabytes=1.9e-4), None)
