"""Rows: features of many images, which lie in shards and are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlx.features.shard import Shard

AROUND = 2 * 2**20  # bytes that the system may map around a row that is read alone: a large page
HELD = 256 * 2**20  # bytes that reading may keep mapped in memory before it is given back


class Rows:
    """Features (N, D) float32, indexed by a slice or by whole numbers; what is asked for is copied into memory.

    Args:
        shards: Where they are.
        shard: Which of ``shards`` each row is in: (N,).
        position: Where in it: (N,).
        width: D.
    """

    def __init__(self, shards: Sequence[Shard], shard: np.ndarray, position: np.ndarray, width: int) -> None:
        self.shape = (len(shard), width)
        self._shards, self._shard, self._position = shards, shard, position
        self._read = 0

    @property
    def nbytes(self) -> int:
        """How much memory they would take."""
        return 4 * self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        shard, position = self._shard[index], self._position[index]
        rows = np.empty((len(shard), self.shape[1]), np.float32)
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            there = _as_slice(position[here])
            rows[_as_slice(here)] = self._shards[number].rows[there]
            self._read += 4 * self.shape[1] * len(here) + (0 if isinstance(there, slice) else AROUND * len(here))
        if self._read > HELD:
            self._read = 0
            for each in self._shards:
                each.release()
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)


def _as_slice(indices: np.ndarray) -> slice | np.ndarray:
    """Return indices that follow each other as a slice, which is copied as a whole."""
    first, count = int(indices[0]), len(indices)
    return slice(first, first + count) if np.array_equal(indices, np.arange(first, first + count)) else indices
