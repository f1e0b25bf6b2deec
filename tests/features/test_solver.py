"""The solver: what it returns is the minimum of what it says it minimises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlx.config.groups import LbfgsSolver
from tlx.features.bank import Bank
from tlx.features.solver import Solution, install, solve


def bank(count: int, dims: int, classes: int, seed: int = 0, spread: float = 1.5) -> Bank:
    """Draw clusters that overlap, every feature on a scale and at a place of its own."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99)
    centres, scale, place = (
        shared.normal(size=(classes, dims)),
        shared.uniform(0.01, 50, dims),
        shared.normal(size=dims),
    )
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)]).astype(np.int64)
    features = (centres[labels] + spread * rng.normal(size=(count, dims))) * scale + 20 * place
    return Bank(features.astype(np.float32), labels)


def one(
    train: Bank, classes: int, strength: float, weights: torch.Tensor | None = None, val: Bank | None = None
) -> Solution:
    config = LbfgsSolver(strengths=[strength], max_iterations=2000)
    return solve(train, val or train, classes, config, weights)


def standardised(train: Bank) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(train.features).double()
    mean, std = x.mean(0), x.std(0, unbiased=False)
    std = torch.where(std > 1e-6 * std.max(), std, torch.ones_like(std))
    return (x - mean) / std, mean, std


def gradient(solution: Solution, train: Bank, strength: float, weights: torch.Tensor | None) -> float:
    """Return the largest slope, in either direction, of the stated objective where the solver stopped.

    mean over images of (weight of its class * cross entropy) + strength / 2 * |W|^2, on standardised features.
    """
    x, mean, std = standardised(train)
    raw = torch.from_numpy(solution.weight)
    w = (raw * std).requires_grad_()
    b = (torch.from_numpy(solution.bias) + raw @ mean).requires_grad_()
    labels = torch.from_numpy(train.labels)
    losses = F.cross_entropy(x @ w.T + b, labels, reduction="none")
    if weights is not None:
        losses = losses * weights.double()[labels]
    (losses.mean() + strength / 2 * (w**2).sum()).backward()
    assert w.grad is not None
    assert b.grad is not None
    return max(float(w.grad.abs().max()), float(b.grad.abs().max()))


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("strength", [1.0, 0.03, 0.001])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_solution_is_where_the_objective_is_flat(classes: int, strength: float, weighted: bool) -> None:
    train = bank(90, 6, classes)
    counts = torch.bincount(torch.from_numpy(train.labels), minlength=classes)
    weights = (len(train.labels) / (classes * counts)).float() if weighted else None
    solution = one(train, classes, strength, weights)
    assert gradient(solution, train, strength, weights) < 1e-4
    # The negative control: another strength, other weights, are not flat here.
    assert gradient(solution, train, strength * 1.5, weights) > 3e-4
    if weighted and classes > 2:
        assert gradient(solution, train, strength, None) > 3e-4


def test_two_classes_are_regularised_like_many() -> None:
    """A second class that only repeats the first: one logit must not count as two."""
    train = bank(60, 4, 2)
    solution = one(train, 2, 0.1)
    np.testing.assert_allclose(solution.weight[0], -solution.weight[1])
    assert gradient(solution, train, 0.2, None) > 1e-3
    assert gradient(solution, train, 0.05, None) > 1e-3


def test_the_folded_head_says_what_the_standardised_one_says() -> None:
    train = bank(80, 5, 3)
    solution = one(train, 3, 0.01)
    x, mean, std = standardised(train)
    raw = torch.from_numpy(solution.weight)
    inner = x @ (raw * std).T + torch.from_numpy(solution.bias) + raw @ mean
    layer = nn.Linear(5, 3)
    install(solution, layer)
    assert layer.weight.requires_grad
    torch.testing.assert_close(layer(torch.from_numpy(train.features)).double(), inner, atol=2e-4, rtol=1e-4)


def val_loss(solution: Solution, val: Bank) -> float:
    logits = torch.from_numpy(val.features).double() @ torch.from_numpy(solution.weight).T
    return float(F.cross_entropy(logits + torch.from_numpy(solution.bias), torch.from_numpy(val.labels)))


def test_the_strength_is_the_one_with_the_lowest_validation_loss() -> None:
    train, val = bank(40, 10, 3, spread=3.0), bank(200, 10, 3, seed=1, spread=3.0)
    strengths = [3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001]
    solution = solve(train, val, 3, LbfgsSolver(strengths=strengths[::-1], max_iterations=2000), None)
    alone = {s: val_loss(one(train, 3, s, val=val), val) for s in strengths}
    assert [row["strength"] for row in solution.path] == strengths  # from strong to weak, whatever the order asked for
    for row in solution.path:
        assert row["val_loss"] == pytest.approx(alone[row["strength"]], abs=2e-4)
        assert row["converged"] is True
    best = min(alone, key=lambda s: alone[s])
    assert solution.strength == best
    assert best not in (strengths[0], strengths[-1])  # the question had two sides
    assert val_loss(solution, val) == pytest.approx(alone[best], abs=2e-4)
    accuracy = next(row["val_accuracy"] for row in solution.path if row["strength"] == best)
    logits = val.features @ solution.weight.T + solution.bias
    assert accuracy == pytest.approx((logits.argmax(1) == val.labels).mean())


def test_too_few_iterations_are_told_not_warned() -> None:
    config = LbfgsSolver(strengths=[1e-4], max_iterations=1)
    assert solve(bank(80, 6, 3), bank(20, 6, 3), 3, config, None).path[0]["converged"] is False


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e4])
def test_features_that_never_vary_say_nothing(constant: float) -> None:
    train = bank(50, 4, 3)
    padded = Bank(np.insert(train.features, 2, constant, axis=1), train.labels)
    solution, plain = one(padded, 3, 0.1), one(train, 3, 0.1)
    assert np.isfinite(solution.weight).all()
    assert np.abs(solution.weight[:, 2]).max() < 1e-6
    np.testing.assert_allclose(
        padded.features @ solution.weight.T + solution.bias, train.features @ plain.weight.T + plain.bias, atol=2e-2
    )


def test_features_none_of_which_vary_give_the_shares_of_the_classes() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2] * 1)
    train = Bank(np.full((10, 3), 7.0, np.float32), labels)
    solution = one(train, 3, 0.1)
    logits = torch.from_numpy(train.features[0] @ solution.weight.T + solution.bias)
    torch.testing.assert_close(logits.softmax(0), torch.tensor([0.6, 0.3, 0.1]).double(), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("absent", [(1,), (0, 2)])
def test_a_class_without_training_images_is_never_predicted(absent: tuple[int, ...]) -> None:
    whole = bank(80, 5, 4)
    kept = ~np.isin(whole.labels, absent)
    train = Bank(whole.features[kept], whole.labels[kept])
    solution = one(train, 4, 0.1, val=whole)
    assert solution.weight.shape == (4, 5)
    anywhere = np.random.default_rng(0).normal(size=(500, 5)) * 100
    probability = torch.from_numpy(anywhere @ solution.weight.T + solution.bias).softmax(1)
    assert float(probability[:, list(absent)].max()) < 1e-9  # nor given any chance
    assert not set(probability.argmax(1).tolist()) & set(absent)
    assert np.isfinite(float(solution.path[0]["val_loss"]))


def test_the_same_banks_give_the_same_head() -> None:
    args: Any = (bank(60, 6, 3), bank(30, 6, 3, seed=1), 3, LbfgsSolver(), None)
    first, second = solve(*args), solve(*args)
    assert np.array_equal(first.weight, second.weight)
    assert first.path == second.path
