"""Neighbours: images are classified by votes of the training images most like them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tlx.config.groups import NeighboursHead

QUERIES, ROWS = 1024, 16384  # compared at once: 64 MB of similarities
NEVER = -1e4  # the logit of a class without training images


class Neighbours(nn.Module):
    """The k-nearest-neighbours classifier of Wu et al. (2018), as in DINO's protocol (Caron et al., 2021).

    Of the k stored features with the highest cosine s, each votes for its class, and its vote counts
    ``votes * exp(s / temperature)``. One more vote, as large as the first neighbour's can be, is shared by all classes
    alike, so that none is impossible. Logits are the logarithms of a class's share, times the sharpness.
    """

    def __init__(self, config: NeighboursHead, width: int, num_classes: int) -> None:
        super().__init__()
        self.k = config.k
        self.temperature = config.temperature
        self.sharpness = config.sharpness
        self.num_classes = num_classes
        self.register_buffer("rows", torch.zeros(config.rows, width))
        self.register_buffer("labels", torch.zeros(config.rows, dtype=torch.int64))
        self.register_buffer("votes", torch.ones(config.rows))

    rows: torch.Tensor
    labels: torch.Tensor
    votes: torch.Tensor

    def fill(self, rows: torch.Tensor, labels: torch.Tensor, votes: torch.Tensor) -> None:
        """Store directions (M, D) of length 1, their classes (M,) and what each vote counts (M,)."""
        self.rows, self.labels, self.votes = rows, labels, votes

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Classify features (N, D)."""
        with torch.autocast(features.device.type, enabled=False):  # near neighbours differ in the last digits
            cosines, indices = search(self.rows, features.float(), self.k)
            shares = elect(cosines, self.labels[indices], self.votes[indices], self.temperature, self.present())
        return tell(shares, self.sharpness)

    def present(self) -> torch.Tensor:
        """Return which classes have neighbours (num_classes,)."""
        return torch.bincount(self.labels, minlength=self.num_classes) > 0


def search(rows: torch.Tensor, features: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` highest cosines (N, k), from high to low, and where in ``rows`` (M, D) they are (N, k).

    Rows have length 1, and k is at most M. Blocks of both are compared at a time, so that memory stays bounded.
    """
    found = [_search(rows, part, k) for part in F.normalize(features, dim=1).split(QUERIES)]
    cosines, indices = zip(*found, strict=True)
    return torch.cat(cosines), torch.cat(indices)


def _search(rows: torch.Tensor, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    best, where = (
        queries.new_empty(len(queries), 0),
        torch.empty(len(queries), 0, dtype=torch.int64, device=rows.device),
    )
    for start in range(0, len(rows), ROWS):
        cosines = queries @ rows[start : start + ROWS].T
        cosines, indices = cosines.topk(min(k, cosines.shape[1]), dim=1)
        best, where = torch.cat([best, cosines], 1), torch.cat([where, indices + start], 1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    return best, where


def elect(
    cosines: torch.Tensor, labels: torch.Tensor, votes: torch.Tensor, temperature: float, present: torch.Tensor
) -> torch.Tensor:
    """Return the classes' shares of the votes (N, K): 0 for those that are not ``present`` (K,), positive for others.

    All of (N, k): cosines from high to low, the classes of those neighbours, and what each vote counts.
    """
    weights = votes * ((cosines - cosines[:, :1]) / temperature).exp()
    counted = torch.zeros(len(cosines), len(present), device=cosines.device).scatter_add_(1, labels, weights)
    counted = counted + present / present.sum()
    return counted / counted.sum(1, keepdim=True)


def tell(shares: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Return shares of votes (N, K) as logits, centred over the classes that can have votes."""
    logarithms = torch.where(shares > 0, shares.log(), 0.0)
    centre = logarithms.sum(1, keepdim=True) / (shares > 0).sum(1, keepdim=True)
    return torch.where(shares > 0, sharpness * (logarithms - centre), NEVER)
