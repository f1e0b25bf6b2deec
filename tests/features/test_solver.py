"""What every solver keeps: classes that are absent, rows that lie on disk, the same bits every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.features.clusters import Rows, bank, logits_of
from tlx.config.groups import KnnSolver, LbfgsSolver, NcmSolver, RidgeSolver
from tlx.features.bank import Bank
from tlx.features.solver import Solver, solve

SOLVERS: dict[str, Solver] = {
    "lbfgs": LbfgsSolver(), "ridge": RidgeSolver(), "ncm": NcmSolver(), "knn": KnnSolver(temperature=0.01),
}  # fmt: skip
each = pytest.mark.parametrize("kind", SOLVERS)


def rightly(logits: torch.Tensor, labels: np.ndarray) -> float:
    return float((logits.argmax(1).numpy() == labels).mean())


@each
def test_a_solver_learns(kind: str) -> None:
    train, val, test = (bank(count, 12, 4, seed, 0.8) for seed, count in enumerate((120, 60, 300)))
    solution = solve(train, val, 4, SOLVERS[kind])
    assert rightly(logits_of(solution, test.features, 4), test.labels) > 0.8
    # The negative control: labels that nothing tells.
    shuffled = Bank(train.features, np.random.default_rng(0).permutation(train.labels))
    assert rightly(logits_of(solve(shuffled, val, 4, SOLVERS[kind]), test.features, 4), test.labels) < 0.5


@each
@pytest.mark.parametrize("absent", [(1,), (0, 2)])
def test_a_class_without_training_images_is_never_predicted(kind: str, absent: tuple[int, ...]) -> None:
    whole = bank(80, 5, 4)
    kept = ~np.isin(whole.labels, absent)
    train = Bank(whole.features[kept], whole.labels[kept])
    solution = solve(train, whole, 4, SOLVERS[kind])  # whose validation images have these classes
    anywhere = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    for size in (1, 100, 1e4):
        probability = logits_of(solution, anywhere * np.float32(size), 4).softmax(1)
        assert float(probability[:, list(absent)].max()) < 1e-9  # nor given any chance
        assert not set(probability.argmax(1).tolist()) & set(absent)
    assert all(np.isfinite(float(row["val_loss"])) for row in solution.path)
    # The negative control: a class that has images is.
    everything = logits_of(solve(whole, whole, 4, SOLVERS[kind]), whole.features, 4)
    assert set(everything.argmax(1).tolist()) == {0, 1, 2, 3}


@each
def test_the_same_banks_give_the_same_head(kind: str) -> None:
    args: Any = (bank(60, 6, 3), bank(30, 6, 3, seed=1), 3, SOLVERS[kind], torch.tensor([1.0, 2.0, 0.5]))
    first, second = (dataclasses.asdict(solve(*args)) for _ in range(2))
    for name, value in first.items():
        assert np.array_equal(value, second[name]) if name != "path" else value == second[name]


@each
def test_rows_on_disk_give_the_head_of_rows_in_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlx.features.chunks.CHUNK", 6)  # 256 rows at a time, the least there is
    train, val = bank(700, 6, 3), bank(300, 6, 3, seed=1)
    plain = logits_of(solve(train, val, 3, SOLVERS[kind]), val.features, 3)
    np.save(tmp_path / "rows.npy", train.features)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for features in (mapped, Rows(train.features)):
        solution = solve(Bank(features, train.labels), Bank(Rows(val.features), val.labels), 3, SOLVERS[kind])
        torch.testing.assert_close(logits_of(solution, val.features, 3), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["lbfgs", "ridge", "knn"])
def test_a_class_that_counts_more_is_predicted_more(kind: str) -> None:
    train, val, test = (bank(150, 6, 3, seed, 4.0) for seed in range(3))
    shares = []
    config = KnnSolver(neighbours=[30], temperature=0.5) if kind == "knn" else SOLVERS[kind]
    for weight in (0.2, 1.0, 5.0):
        solution = solve(train, val, 3, config, torch.tensor([weight, 1.0, 1.0]))
        shares.append(float((logits_of(solution, test.features, 3).argmax(1) == 0).float().mean()))
    assert shares == sorted(shares)
    assert shares[0] < shares[2] - 0.1


def test_nearest_means_know_no_weights() -> None:
    args: Any = (bank(60, 6, 3), bank(30, 6, 3, seed=1), 3, NcmSolver())
    weighted = solve(*args, torch.tensor([1.0, 9.0, 0.1]))
    assert np.array_equal(weighted.weight, solve(*args).weight)  # type: ignore[union-attr]


@each
@pytest.mark.parametrize("count", [5, 40])
def test_validation_data_alone_chooses(kind: str, count: int) -> None:
    """Of another validation set another choice is made, or another factor; never is the test set asked for."""
    train = bank(count, 4, 2, spread=3.0)
    paths = [solve(train, bank(50, 4, 2, seed, 3.0), 2, SOLVERS[kind]).path for seed in (1, 2)]
    assert paths[0] != paths[1]


@each
def test_few_images_of_one_class_break_nothing(kind: str) -> None:
    train = Bank(np.array([[1.0, 2.0], [1.5, 2.0]], np.float32), np.array([1, 1]))
    solution = solve(train, bank(20, 2, 2), 2, SOLVERS[kind])
    assert set(logits_of(solution, np.ones((4, 2), np.float32), 2).argmax(1).tolist()) == {1}
