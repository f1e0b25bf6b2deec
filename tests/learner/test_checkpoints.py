"""What is best, when to stop, and that both follow from the history alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlx.config.groups import Callbacks, Checkpoint, EarlyStopping
from tlx.interruption import Interruption
from tlx.learner.checkpoints import AtomicCheckpointIO, Checkpoints, table


def with_history(values: list[float], monitor: str = "accuracy", patience: int | None = None) -> Checkpoints:
    config = Callbacks(checkpoint=Checkpoint(monitor=monitor))
    checkpoints = Checkpoints(Path(), config, EarlyStopping(patience=patience), Interruption(""))
    checkpoints.load_state_dict({"history": [{"epoch": i, f"val/{monitor}": v} for i, v in enumerate(values)]})
    return checkpoints


def test_best_is_the_first_of_the_highest_and_the_lowest_loss() -> None:
    assert with_history([0.1, 0.9, 0.3, 0.9]).best_epoch == 1
    assert with_history([0.5, 0.1, 0.3, 0.1], monitor="loss").best_epoch == 1
    assert with_history([]).best_epoch is None


def test_of_equal_accuracies_the_lowest_loss_is_best() -> None:
    checkpoints = with_history([0.9, 0.9, 0.9, 0.5])
    for row, loss in zip(checkpoints.history, (0.4, 0.2, 0.2, 0.1), strict=True):
        row["val/loss"] = loss
    assert checkpoints.best_epoch == 1


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(1, 4))
def test_stopping_needs_exactly_patience_epochs_without_improvement(values: list[float], patience: int) -> None:
    stops = [with_history(values[:n], patience=patience).stops for n in range(len(values) + 1)]
    for n, stop in enumerate(stops):
        best_at = values.index(max(values[:n])) if n else 0
        assert stop == (n > 0 and n - 1 - best_at >= patience)


def test_without_patience_nothing_stops() -> None:
    assert not with_history([0.5] * 50).stops


def test_the_state_survives_a_round_trip_and_is_plain(tmp_path: Path) -> None:
    checkpoints = with_history([0.1, 0.2])
    io = AtomicCheckpointIO()
    io.save_checkpoint({"callbacks": checkpoints.state_dict(), "weight": torch.ones(2)}, tmp_path / "last.ckpt")
    loaded = io.load_checkpoint(tmp_path / "last.ckpt")
    assert loaded["callbacks"] == checkpoints.state_dict()
    assert not list(tmp_path.glob(".*"))
    io.remove_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "last.ckpt").exists()


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, tmp_path / "last.ckpt")

    def torn(state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("the machine stopped")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(RuntimeError):
        io.save_checkpoint({"step": 2}, tmp_path / "last.ckpt")
    assert io.load_checkpoint(tmp_path / "last.ckpt") == {"step": 1}


def test_table_keeps_columns_that_only_some_rows_have() -> None:
    assert table([{"epoch": 0, "a": 0.5}, {"epoch": 1, "b": 2}]) == "epoch,a,b\n0,0.5,\n1,,2\n"
