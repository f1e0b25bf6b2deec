"""Answering: a pass hands on what it computes, batch by batch, and ends between two of them when it is told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl

from tlx.interruption import Interruption
from tlx.network.probabilities import Likely
from tlx.results.answers import Answer

WAITING = 4  # batches that may wait on their device: to fetch each at once would make the device wait


class Answering(pl.Callback):
    """Hands each batch's answer to ``take``, in order; an interruption ends the pass when all of them are handed on."""

    def __init__(self, take: Callable[[Answer], None], interruption: Interruption | None = None) -> None:
        self.take = take
        self.interruption = interruption
        self._waiting: deque[tuple[Any, Likely]] = deque()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning."""
        if self.interruption is not None:
            self.interruption.claim()

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Take a batch's outputs.

        Raises:
            Interrupted: A signal came.
        """
        self._waiting.append((batch, outputs))
        stop = self.interruption is not None and self.interruption.signal_name is not None
        while len(self._waiting) > (0 if stop or pl_module.device.type == "cpu" else WAITING):
            self._hand_on()
        if stop and self.interruption is not None:
            raise self.interruption.error()

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hand on what waits."""
        while self._waiting:
            self._hand_on()

    def _hand_on(self) -> None:
        batch, likely = self._waiting.popleft()
        index: np.ndarray = batch["index"].cpu().numpy()
        self.take(
            Answer(batch["first"], batch["last"], batch["faults"], index, *(part.cpu().numpy() for part in likely))
        )
