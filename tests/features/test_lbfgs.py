"""``solver=lbfgs``: what it returns is the minimum of what it says it minimises, on few rows and on many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.features.clusters import Rows, bank
from tlx.config.groups import LbfgsSolver
from tlx.features import lbfgs
from tlx.features.bank import Bank
from tlx.features.lbfgs import solve_lbfgs as solve
from tlx.features.solution import LinearSolution, fill


def one(
    train: Bank, classes: int, strength: float, weights: torch.Tensor | None = None, val: Bank | None = None
) -> LinearSolution:
    config = LbfgsSolver(strengths=[strength], max_iterations=2000)
    return solve(train, val or train, classes, config, weights)


def standardised(train: Bank) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(train.features).double()
    mean, std = x.mean(0), x.std(0, unbiased=False)
    std = torch.where(std > 1e-6 * std.max(), std, torch.ones_like(std))
    return (x - mean) / std, mean, std


def objective(solution: LinearSolution, train: Bank, strength: float, weights: torch.Tensor | None) -> float:
    """Return mean over images of (weight of its class * cross entropy) + strength / 2 * |W|^2."""
    x, mean, std = standardised(train)
    raw = torch.from_numpy(solution.weight)
    logits = x @ (raw * std).T + torch.from_numpy(solution.bias) + raw @ mean
    labels = torch.from_numpy(train.labels)
    losses = F.cross_entropy(logits, labels, reduction="none")
    losses = losses if weights is None else losses * weights.double()[labels]
    return float(losses.mean() + strength / 2 * (raw * std).square().sum())


def gradient(solution: LinearSolution, train: Bank, strength: float, weights: torch.Tensor | None) -> float:
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
    fill(solution, layer)
    assert layer.weight.requires_grad
    torch.testing.assert_close(layer(torch.from_numpy(train.features)).double(), inner, atol=2e-4, rtol=1e-4)


def val_loss(solution: LinearSolution, val: Bank) -> float:
    logits = torch.from_numpy(val.features).double() @ torch.from_numpy(solution.weight).T
    return float(F.cross_entropy(logits + torch.from_numpy(solution.bias), torch.from_numpy(val.labels)))


def test_the_strength_is_the_one_with_the_lowest_validation_loss() -> None:
    train, val = bank(40, 10, 3, spread=3.0), bank(200, 10, 3, seed=1, spread=3.0)
    strengths = [3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001]
    solution = solve(train, val, 3, LbfgsSolver(strengths=strengths[::-1], max_iterations=2000), None)
    alone = {s: val_loss(one(train, 3, s, val=val), val) for s in strengths}
    tried = [row["strength"] for row in solution.path]
    assert tried == strengths[: len(tried)]  # from strong to weak, whatever the order asked for
    assert len(tried) == len(strengths) or min(alone, key=lambda s: alone[s]) in tried[:-3]
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
def test_absent_classes_leave_the_others_alone(absent: tuple[int, ...]) -> None:
    whole = bank(80, 5, 4)
    kept = ~np.isin(whole.labels, absent)
    train = Bank(whole.features[kept], whole.labels[kept])
    solution, others = one(train, 4, 0.1, val=whole), np.setdiff1d(np.arange(4), absent)
    alone = one(Bank(train.features, np.searchsorted(others, train.labels)), len(others), 0.1)
    np.testing.assert_allclose(solution.weight[others], alone.weight)
    assert (solution.bias[list(absent)] == -1e4).all()
    assert np.isfinite(float(solution.path[0]["val_loss"]))


@pytest.mark.parametrize(("count", "dims", "classes"), [(300, 20, 5), (60, 200, 3), (120, 40, 2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn_agrees(count: int, dims: int, classes: int, weighted: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    train, val = bank(count, dims, classes, spread=3.0), bank(200, dims, classes, seed=1, spread=3.0)
    weights = torch.linspace(0.5, 2.0, classes) if weighted else None
    x, mean, std = (t.numpy() for t in standardised(train))
    for strength in (1.0, 0.03, 0.001):
        solution = solve(train, val, classes, LbfgsSolver(strengths=[strength]), weights)
        # Two classes are one logit to scikit-learn; as two symmetric ones its |W|^2 is half as large.
        model = LogisticRegression(C=1 / (strength * count / (2 if classes == 2 else 1)), tol=1e-7, max_iter=5000)
        model.fit(x, train.labels, sample_weight=None if weights is None else weights.double().numpy()[train.labels])
        theirs = model.predict_proba((val.features - mean) / std)
        ours = torch.softmax(torch.from_numpy(val.features @ solution.weight.T + solution.bias), 1)
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-3 if strength > 0.01 else 1e-2)
        coefficients, intercept = model.coef_, model.intercept_
        if classes == 2:
            coefficients, intercept = (
                np.vstack([-coefficients, coefficients]) / 2,
                np.hstack([-intercept, intercept]) / 2,
            )
        reference = LinearSolution(coefficients / std, intercept - coefficients / std @ mean, strength, ())
        lowest = objective(reference, train, strength, weights)
        assert objective(solution, train, strength, weights) == pytest.approx(lowest, abs=1e-6)
        assert objective(solution, train, strength * 1.5, weights) > lowest + 1e-4


def test_a_path_ends_where_there_is_no_turning_back() -> None:
    train, val = bank(40, 30, 3, spread=4.0), bank(200, 30, 3, seed=1, spread=4.0)
    strengths = [10.0**-k for k in range(8)]
    path = solve(train, val, 3, LbfgsSolver(strengths=strengths), None).path
    losses = [row["val_loss"] for row in path]
    best = int(np.argmin(losses))
    assert best < len(strengths) - 4  # the question was there
    assert len(path) == best + 4
    assert losses[best:] == sorted(losses[best:])


MANY: dict[str, Any] = {"count": 3000, "dims": 40, "classes": 3, "spread": 3.0}


def many(monkeypatch: pytest.MonkeyPatch, train: Bank, val: Bank) -> LinearSolution:
    """Solve as if 400 rows of 40 features were all that a path may have."""
    monkeypatch.setattr(lbfgs, "WHOLE", 400 * 40)
    return solve(train, val, 3, LbfgsSolver(), None)


def test_many_rows_are_solved_in_chunks_to_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.features.chunks.CHUNK", 8)  # 256 rows, the least there is
    train, val = bank(**MANY), bank(1000, 40, 3, seed=1, spread=3.0)
    rows = Rows(train.features)
    found = many(monkeypatch, Bank(rows, train.labels), Bank(Rows(val.features), val.labels))
    assert rows.most == 256  # a chunk at a time
    *part, last = found.path
    assert {row["rows"] for row in part} == {400}
    assert last["rows"] == 3000
    assert last["strength"] == found.strength
    assert last["converged"] is True
    monkeypatch.undo()
    whole = one(train, 3, found.strength, val=val)
    np.testing.assert_allclose(found.weight, whole.weight, atol=5e-3 * np.abs(whole.weight).max())
    assert gradient(found, train, found.strength, None) < 3e-4
    assert "rows" not in whole.path[0]


def test_more_rows_call_for_less_regularisation(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = bank(**MANY), bank(1000, 40, 3, seed=1, spread=3.0)
    found = many(monkeypatch, train, val)
    on_part = min(found.path[:-1], key=lambda row: row["val_loss"])["strength"]
    grid = LbfgsSolver().strengths
    assert found.strength == min(grid, key=lambda s: abs(np.log(s / (on_part * 400 / 3000))))
    # And that is right: of a whole path over all rows, it is the best one, and what the part chose is worse.
    monkeypatch.undo()
    whole = {row["strength"]: row["val_loss"] for row in solve(train, val, 3, LbfgsSolver(), None).path}
    assert found.strength == min(whole, key=lambda s: whole[s])
    assert whole[on_part] > whole[found.strength] + 0.01


def test_a_rare_class_is_in_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    train = bank(**MANY)
    kept = np.flatnonzero((train.labels != 2) | (np.cumsum(train.labels == 2) <= 3))
    rare = Bank(train.features[kept], train.labels[kept])
    found = many(monkeypatch, rare, train)
    assert found.bias[2] > -1e3
    assert found.path[0]["rows"] in range(400, 404)
    assert gradient(found, rare, found.strength, None) < 3e-4


def test_the_same_banks_give_the_same_head() -> None:
    args: Any = (bank(60, 6, 3), bank(30, 6, 3, seed=1), 3, LbfgsSolver(), None)
    first, second = solve(*args), solve(*args)
    assert np.array_equal(first.weight, second.weight)
    assert first.path == second.path
