"""Span: the directions in which features vary, and how much they do in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

LEAST = 1e-7  # of the largest second moment; what varies less is rounding


@dataclass(frozen=True)
class Span:
    """Orthonormal directions (D, R) in the space of the features, and the inputs' second moments (R,) along them.

    A rotation changes neither the length of a weight vector nor what can be predicted, and no weight that an
    L2 penalty allows points out of the span of N rows. In the span there are at most N dimensions, and their second
    moments are a diagonal.
    """

    directions: torch.Tensor
    moments: np.ndarray

    def outside(self, weight: np.ndarray) -> np.ndarray:
        """Return weights (K, R) in the span as weights (K, D) on the features."""
        return weight @ self.directions.double().numpy().T


def span_of(inputs: torch.Tensor) -> tuple[Span, torch.Tensor]:
    """Return the span of rows (N, D) in memory, and the rows rotated into it (N, R)."""
    count, width = inputs.shape
    if width <= count:
        span = from_moments(inputs.T @ inputs / count)
        return span, inputs @ span.directions
    values, vectors = torch.linalg.eigh(inputs @ inputs.T / count)
    kept = values > LEAST * values[-1].clamp(min=1e-12)
    values, vectors = values[kept], vectors[:, kept]
    roots = (values * count).sqrt()
    return Span(inputs.T @ (vectors / roots), values.double().numpy()), vectors * roots


def from_moments(moments: torch.Tensor) -> Span:
    """Return all directions of features whose second moments (D, D) are given."""
    values, vectors = torch.linalg.eigh(moments)
    return Span(vectors, values.double().clamp(min=0).numpy())
