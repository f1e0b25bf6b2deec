"""Solution: what a solver ends with, and how it becomes a network's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tlx.config.groups import NeighboursHead
from tlx.network.head import Head
from tlx.network.network import Network

Row = dict[str, float | bool]


@dataclass(frozen=True)
class LinearSolution:
    """A linear head on raw features, the strength that validation chose, and the path it was chosen from.

    ``strength`` is None where there is none to choose. ``path`` rows hold the strength, validation loss (nats) and
    accuracy, and what the solver adds.
    """

    weight: np.ndarray  # (K, D)
    bias: np.ndarray  # (K,)
    strength: float | None
    path: tuple[Row, ...]

    @property
    def chosen(self) -> dict[str, Any]:
        """What validation chose, under its name in ``result.json``."""
        return {} if self.strength is None else {"strength": self.strength}


@dataclass(frozen=True)
class NeighboursSolution:
    """Training images' features as voters, how many of them vote on an image, and the path that was chosen from.

    ``rows`` (M, D) float32 have length 1. ``votes`` (M,) is what each vote counts. ``path`` rows hold k, validation
    loss (nats) and accuracy, and the sharpness.
    """

    rows: torch.Tensor
    labels: torch.Tensor  # (M,) int64
    votes: torch.Tensor
    k: int
    temperature: float
    sharpness: float
    path: tuple[Row, ...]

    @property
    def chosen(self) -> dict[str, Any]:
        """What validation chose, under its name in ``result.json``."""
        return {"k": self.k}


Solution = LinearSolution | NeighboursSolution


def install(solution: Solution, network: Network) -> None:
    """Make a solution the head of a network: its layer's weights, or neighbours in the layer's place."""
    if isinstance(solution, LinearSolution):
        fill(solution, network.head.linear)
        return
    size = len(solution.rows)
    pool = network.head.pool.kind
    config = NeighboursHead(
        pool=pool, k=solution.k, temperature=solution.temperature, sharpness=solution.sharpness, rows=size
    )
    trunk = network.trunk
    head = Head(config, trunk.layout, trunk.prefix, trunk.width, network.head.num_classes, seed=0)
    head.neighbours.fill(solution.rows, solution.labels, solution.votes)
    network.replace_head(head)


def fill(solution: LinearSolution, linear: nn.Linear) -> None:
    """Put a linear solution into a layer."""
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(solution.weight))
        linear.bias.copy_(torch.from_numpy(solution.bias))
