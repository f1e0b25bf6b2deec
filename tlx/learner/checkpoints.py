"""Checkpoints: the last state, to go on from; the best weights, to keep; and the history that both are judged by."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from tlx.config.groups import Callbacks, EarlyStopping
from tlx.data.module import ImageModule
from tlx.errors import InputError
from tlx.interruption import Interruption
from tlx.learner.learner import Learner
from tlx.storage import read_checkpoint, write_checkpoint, write_tensors, write_text

Row = dict[str, Any]  # one epoch: its phase, its number, and numbers by name
LAST, BEFORE, BEST = "last.ckpt", "before.ckpt", "best.safetensors"
PATIENCE_AFTER_SIGNAL_S = 5.0  # how long a validation may go on before an interrupted run ends without its result


class Paused(Exception):  # noqa: N818 (nothing is wrong)
    """Training stopped where it was to pause; it goes on from its saved state."""


class AtomicCheckpointIO(CheckpointIO):
    """Writes checkpoints whole or not at all, and reads them without running code.

    Lightning's own writer goes through ``TMPDIR``: on another filesystem it tears files, on a full disk it destroys
    the old one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; the one before it is kept as well."""
        write_checkpoint(Path(path), checkpoint, Path(path).with_name(BEFORE))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read a checkpoint of plain tensors and types to the CPU, whatever Lightning asks for."""
        content: dict[str, Any] = read_checkpoint(Path(path))
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(pl.Callback):
    """Saves ``last.ckpt`` after every epoch, every so many steps or seconds and on a signal.

    The state before it stays beside it; ``best.safetensors`` are the weights of the best epoch so far. What is best and
    when to stop early are functions of the history, which is part of the checkpoint. Both begin anew in every phase, in
    a folder of its own.

    Args:
        folder: The phase's folder in ``checkpoints/``.
        config: What is monitored, and when to save.
        early_stopping: The phase's own.
        interruption: Tells of signals.
        metrics: ``metrics.csv``, which is written anew after every epoch.
        past: The rows of earlier phases, which stand above this one's.
        pause: After how many epochs to stop for now, in the middle of one if need be.
        start: The row of the weights that the phase starts from, where they may be its best.
    """

    def __init__(
        self,
        folder: Path,
        config: Callbacks,
        early_stopping: EarlyStopping,
        interruption: Interruption,
        metrics: Path | None = None,
        past: Sequence[Row] = (),
        pause: float | None = None,
        start: Row | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.early_stopping = early_stopping
        self.interruption = interruption
        self.metrics = metrics
        self.past = past
        self.pause = pause
        self.history: list[Row] = [start] if start else []
        self.saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the history."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the history."""
        self.history = [dict(row) for row in state_dict["history"]]

    @property
    def best_epoch(self) -> int | None:
        """The row of the history that is best."""
        return best_of(self.history, self.config.checkpoint.monitor)

    @property
    def stops(self) -> bool:
        """Whether the monitored metric has not improved for as long as early stopping waits."""
        patience, delta = self.early_stopping.patience, self.early_stopping.min_delta
        if patience is None or not self.history:
            return False
        best, since = -math.inf, 0
        for row in self.history:
            better = self._merit(row) > best + delta
            best, since = (self._merit(row), 0) if better else (best, since + 1)
        return since >= patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once when the history already says so."""
        self.interruption.claim()  # Lightning's handler ends a run on SIGTERM between validation and our save
        self.saved_at = time.monotonic()
        trainer.should_stop = trainer.should_stop or self.stops
        epoch, batches = trainer.datamodule.position  # type: ignore[attr-defined]
        self._may_pause(trainer, epoch * int(trainer.num_training_batches) + batches)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time; save and end when a signal came.

        Not after an epoch's last batch: Lightning, resumed from there, would leave out the epoch's validation.
        """
        if batch_idx + 1 >= trainer.num_training_batches:
            return
        interrupted = self._everywhere(trainer, self.interruption.signal_name is not None)
        done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        asked = self.config.checkpoint
        due = done == self._pause_at(trainer) or time.monotonic() - self.saved_at > asked.every_seconds
        counted = asked.every_steps is not None and done % asked.every_steps == 0
        if interrupted or counted or self._everywhere(trainer, due):
            self._save(trainer)
        if interrupted:
            raise self.interruption.error()
        self._may_pause(trainer, done)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """End a long validation when a signal came; the last saved state stands, and nothing of it is lost."""
        since = self.interruption.since
        waited = since is not None and time.monotonic() - since > PATIENCE_AFTER_SIGNAL_S
        if self._everywhere(trainer, waited):
            raise self.interruption.error()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch, keep the weights if they are the best, save, and stop early when it is time."""
        assert isinstance(pl_module, Learner)
        rates = {f"lr/{group['name']}": float(group["lr"]) for group in trainer.optimizers[0].param_groups}
        name, epoch = pl_module.phase.name, trainer.current_epoch
        self.history.append({"phase": name, "epoch": epoch, **pl_module.finish_epoch(), **rates})
        if trainer.is_global_zero:
            if self.best_epoch == len(self.history) - 1:
                with pl_module.kept():
                    write_tensors(self.folder / BEST, pl_module.network.state_dict())
            if self.metrics is not None:
                write_text(self.metrics, table([*self.past, *self.history]))
        self._save(trainer)
        if self._everywhere(trainer, self.interruption.signal_name is not None):
            raise self.interruption.error()
        trainer.should_stop = trainer.should_stop or self.stops
        self._may_pause(trainer, (trainer.current_epoch + 1) * int(trainer.num_training_batches))

    def _pause_at(self, trainer: pl.Trainer) -> int | None:
        return None if self.pause is None else max(1, round(self.pause * int(trainer.num_training_batches)))

    def _may_pause(self, trainer: pl.Trainer, done: int) -> None:
        """Stop for now where so many batches are done; the state is saved."""
        if (at := self._pause_at(trainer)) is not None and done >= at:
            raise Paused

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.folder / LAST)
        self.saved_at = time.monotonic()

    def _merit(self, row: Row) -> float:
        return merit(row, self.config.checkpoint.monitor)

    @staticmethod
    def _everywhere(trainer: pl.Trainer, here: bool) -> bool:
        """Agree over all processes, so that they save and end together."""
        return here if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(here, all=False)


def best_of(rows: Sequence[Row], monitor: str) -> int | None:
    """Find the row whose validation is best by ``monitor``; of equal ones that with the lowest loss, the first.

    A small validation set has many equal accuracies.
    """
    merits = [(merit(row, monitor), -float(row.get("val/loss", 0.0))) for row in rows]
    return merits.index(max(merits)) if merits else None


def merit(row: Row, monitor: str) -> float:
    """Return the monitored metric of a row, so that more is better."""
    value = float(row[f"val/{monitor}"])
    return -value if monitor == "loss" else value


def repair(folder: Path) -> str:
    """Make the last saved state of a phase one that can be read; say what that took, or nothing.

    Raises:
        InputError: There are states, and all of them are damaged.
    """
    states = [path for path in (folder / LAST, folder / BEFORE) if path.is_file()]
    damage = ""
    for state in states:
        try:
            read_checkpoint(state, mapped=True)
        except InputError as error:
            damage = damage or error.what
        else:
            if state.name == BEFORE:  # without damage, its writer was killed between two renames
                state.replace(folder / LAST)
            return damage and f"{damage}; going on from the state before it"
    if states:
        raise InputError(f"{damage}, and no whole state is left", f"remove {folder} to train this phase anew")
    return ""


def read_history(folder: Path) -> list[Row]:
    """Return the rows of a phase's last saved state; none where nothing was saved."""
    if not (folder / LAST).is_file():
        return []
    rows = read_checkpoint(folder / LAST, mapped=True)["callbacks"][Checkpoints.__qualname__]["history"]
    return [dict(row) for row in rows]


def read_position(folder: Path) -> tuple[int, int]:
    """Return where a phase's last saved state stopped: in which epoch, and after how many of its batches."""
    state = read_checkpoint(folder / LAST, mapped=True)[ImageModule.__qualname__]
    return int(state["epoch"]), int(state["batches"])


def table(rows: Sequence[Row]) -> str:
    """Render rows as CSV; columns that a row lacks stay empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(columns)]
    lines += [",".join(_cell(row.get(name, "")) for name in columns) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.8g}"
