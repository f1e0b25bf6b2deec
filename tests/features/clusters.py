"""Small feature banks whose classes overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tlx.config.groups import NeighboursHead
from tlx.features.bank import Bank
from tlx.features.solution import LinearSolution, Solution
from tlx.network.neighbours import Neighbours


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


def logits_of(solution: Solution, features: np.ndarray, classes: int) -> torch.Tensor:
    """Classify features by a solution."""
    if isinstance(solution, LinearSolution):
        return torch.from_numpy(features @ solution.weight.T + solution.bias)
    config = NeighboursHead(
        k=solution.k, temperature=solution.temperature, sharpness=solution.sharpness, rows=len(solution.rows)
    )
    head = Neighbours(config, features.shape[1], classes)
    head.fill(solution.rows, solution.labels, solution.votes)
    return head(torch.from_numpy(features))


class Rows:
    """Rows that can be read by slices alone; counts what was read at once."""

    def __init__(self, features: np.ndarray) -> None:
        self.hidden = features
        self.shape = features.shape
        self.most = 0

    def __len__(self) -> int:
        return len(self.hidden)

    def __getitem__(self, rows: Any) -> np.ndarray:
        assert isinstance(rows, slice)
        found = self.hidden[rows]
        self.most = max(self.most, len(found))
        return found.copy()
