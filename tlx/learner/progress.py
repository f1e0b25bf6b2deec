"""Progress of a training or a pass: a bar on a terminal, and a line an epoch that also stays in a file."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from rich.console import Console

from tlx.learner.checkpoints import Checkpoints
from tlx.results.progress import Progress


class ProgressBar(pl.Callback):
    """Shows how far a training or a pass over a split has come, and how good the last epochs were."""

    def __init__(self, console: Console, checkpoints: Checkpoints | None = None, phase: str = "") -> None:
        self.console = console
        self.checkpoints = checkpoints
        self._phase = f"{phase} " if phase else ""
        self.bar: Progress | None = None
        self.total = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar over all steps."""
        self._open(trainer, int(trainer.num_training_batches) * (trainer.max_epochs or 1))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on by a batch."""
        done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        self._move(done, f"{self._phase}epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how good the epoch was."""
        if not trainer.is_global_zero or self.checkpoints is None or not self.checkpoints.history:
            return
        row = self.checkpoints.history[-1]
        best = " (best)" if self.checkpoints.best_epoch == len(self.checkpoints.history) - 1 else ""
        self.console.print(
            f"  {self._phase}epoch {int(row['epoch']) + 1:>2}/{trainer.max_epochs}  train loss {row['train/loss']:.4f}"
            f"  val loss {row['val/loss']:.4f}  val accuracy {row['val/accuracy']:.4f}"
            f"  balanced {row['val/balanced_accuracy']:.4f}{best}"
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar over a split."""
        self._open(trainer, int(sum(trainer.num_predict_batches)))

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Move on by a batch."""
        self._move(batch_idx + 1, "one pass")

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _open(self, trainer: pl.Trainer, total: int) -> None:
        self.total = total
        self.bar = Progress(self.console, "", trainer.is_global_zero)

    def _move(self, done: int, what: str) -> None:
        if self.bar is not None:
            self.bar(done, self.total, what)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
