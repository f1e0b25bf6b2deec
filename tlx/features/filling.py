"""Filling: a pass over images writes its features shard by shard, so that what interrupts it costs one at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from tlx.features.store import Store

SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = 20.0
WAITING = 8  # batches that may wait on their device: to fetch each at once would make the device wait


class NotFiniteError(Exception):
    """A pass ended early, for what it computes is worth nothing."""


class Filling(pl.Callback):
    """Puts the features that a pass computes into a store, in the order of ``ids`` (N, 16).

    ``bad`` is the first row that was not finite; it and what follows is not kept, and a pass of one process ends there.
    ``kept`` is called whenever rows were.
    """

    def __init__(self, store: Store, ids: np.ndarray, kept: Callable[[], None] = lambda: None) -> None:
        self.store = store
        self.ids = ids
        self.kept = kept
        self.bad: int | None = None
        self._waiting: list[torch.Tensor] = []
        self._rows: list[np.ndarray] = []
        self._kept = 0
        self._since = time.monotonic()

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Take a batch's features.

        Raises:
            NotFiniteError: Some of them are not finite, and no other process waits for the end of the pass.
        """
        self._waiting.append(outputs[1])
        if len(self._waiting) >= WAITING:
            fetched = self._fetch()
            due = time.monotonic() - self._since > SHARD_SECONDS
            if due or sum(rows.nbytes for rows in self._rows) >= SHARD_BYTES or not np.isfinite(fetched).all():
                self.flush()
            if self.bad is not None and trainer.world_size == 1:
                raise NotFiniteError

    def flush(self) -> None:
        """Write what is there as a shard."""
        self._fetch()
        if self._rows:
            rows = np.concatenate(self._rows)
            finite = np.isfinite(rows).all(1)
            count = len(rows) if finite.all() else int(finite.argmin())
            if count < len(rows) and self.bad is None:
                self.bad = self._kept + count
            if self.bad is None or count == self.bad - self._kept:
                self.store.add(self.ids[self._kept : self._kept + count], rows[:count])
                self.kept()
            self._kept += len(rows)
        self._rows, self._since = [], time.monotonic()

    def _fetch(self) -> np.ndarray:
        """Return the sums over the rows that waited on their device, which are finite where the rows are."""
        fetched = [features.cpu().numpy() for features in self._waiting]
        self._rows += fetched
        self._waiting = []
        return np.array([rows.sum(dtype=np.float64) for rows in fetched])
