"""Chunks: features read a few megabytes at a time, wherever they lie, and what one pass over them tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

CHUNK = 2**21  # numbers, 8 MB: some such chunks fit into a processor's cache
FLAT = 1e-6  # of the largest deviation; a feature that varies less says nothing


class Features(Protocol):
    """Rows of numbers (N, D), in memory or on disk: an array, or what reads like one by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> np.ndarray: ...


@dataclass(frozen=True)
class Scale:
    """What standardises features: their means and deviations (D,), float64; features that never vary have 1."""

    mean: np.ndarray
    deviation: np.ndarray

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n, D) on this scale, float32. Subtraction comes first, so that small differences survive."""
        centred: np.ndarray = np.asarray(rows, dtype=np.float32) - self.mean.astype(np.float32)
        centred /= self.deviation.astype(np.float32)
        return centred

    def unfold(self, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the layer on raw features that says what ``weight`` (K, D) and ``bias`` (K,) say on this scale."""
        raw = weight / self.deviation
        return raw, bias - raw @ self.mean


def chunks(features: Features) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices and their rows (n, D), float32, in order."""
    step = max(256, CHUNK // features.shape[1])
    for start in range(0, len(features), step):
        where = slice(start, min(start + step, len(features)))
        yield where, np.asarray(features[where], dtype=np.float32)


def gather(features: Features, part: np.ndarray) -> np.ndarray:
    """Return some rows (n, D), by ascending indices (n,), in one pass.

    Asked for one by one, rows of a mapped file would bring their neighbours into memory, sixteen times as much.
    """
    found = np.empty((len(part), features.shape[1]), np.float32)
    for where, rows in chunks(features):
        first, last = np.searchsorted(part, (where.start, where.stop))
        found[first:last] = rows[part[first:last] - where.start]
    return found


def scale_of(features: Features) -> Scale:
    """Return means and deviations (of all rows, not of a sample), in one pass.

    Chunks are merged by the formula of Chan, Golub and LeVeque (1979), each relative to the first row: a feature that
    never varies has a deviation of exactly zero, however large it is, before it gets 1.
    """
    first = np.asarray(features[:1], dtype=np.float32)
    count, mean, squares = 0, np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for _, rows in chunks(features):
        variance, average = torch.var_mean(torch.from_numpy(rows - first), 0, correction=0)
        ours, theirs = len(rows) / (count + len(rows)), average.double().numpy() - mean
        squares += len(rows) * (variance.double().numpy() + theirs**2 * count / (count + len(rows)))
        mean += ours * theirs
        count += len(rows)
    deviation = np.sqrt(squares / count)
    deviation[deviation <= FLAT * max(float(deviation.max()), 1e-12)] = 1.0
    return Scale((mean + first[0]).astype(np.float32).astype(np.float64), deviation)  # as rows are centred


def classify(features: Features, weight: np.ndarray, bias: np.ndarray) -> torch.Tensor:
    """Return a linear layer's logits (N, K), float32, for weight (K, D) and bias (K,)."""
    layer, start = weight.astype(np.float32), bias.astype(np.float32)
    return torch.from_numpy(np.concatenate([rows @ layer.T + start for _, rows in chunks(features)]))
