"""The progress bar of a training: one line, on a terminal; one line an epoch, in a file."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlx.learner.checkpoints import Checkpoints


class EpochProgress(pl.Callback):
    """Shows where the training is and how good the last epochs were."""

    def __init__(self, console: Console, checkpoints: Checkpoints) -> None:
        self.console = console
        self.checkpoints = checkpoints
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar over all steps."""
        if not (trainer.is_global_zero and self.console.is_terminal):
            return
        self.bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        total = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        done = trainer.current_epoch * int(trainer.num_training_batches)
        self.task = self.bar.add_task("training", total=total, completed=done)
        self.bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on by a batch."""
        if self.bar is not None:
            done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
            self.bar.update(self.task, completed=done, description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how good the epoch was."""
        if not (trainer.is_global_zero and self.checkpoints.history):
            return
        row = self.checkpoints.history[-1]
        best = " (best)" if self.checkpoints.best_epoch == len(self.checkpoints.history) - 1 else ""
        self.console.print(
            f"  epoch {int(row['epoch']) + 1:>2}/{trainer.max_epochs}  train loss {row['train/loss']:.4f}"
            f"  val loss {row['val/loss']:.4f}  val accuracy {row['val/accuracy']:.4f}{best}",
            highlight=False,
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
