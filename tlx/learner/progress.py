"""Progress: a bar on a terminal, and a line an epoch that also stays in a file."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlx.learner.checkpoints import Checkpoints


class ProgressBar(pl.Callback):
    """Shows how far a training or a pass over a split has come, and how good the last epochs were."""

    def __init__(self, console: Console, checkpoints: Checkpoints | None = None, phase: str = "") -> None:
        self.console = console
        self.checkpoints = checkpoints
        self._phase = f"{phase} " if phase else ""
        self.bar: Progress | None = None

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
        if not (trainer.is_global_zero and self.console.is_terminal):
            return
        columns = (TextColumn("  {task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
        self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True)
        self.bar.add_task("", total=total)
        self.bar.start()

    def _move(self, done: int, what: str) -> None:
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done, description=what)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
