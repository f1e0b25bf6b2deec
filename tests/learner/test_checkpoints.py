"""What is best, when to stop, and that both follow from the history alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlx.config.groups import Callbacks, Checkpoint, EarlyStopping
from tlx.errors import InputError
from tlx.interruption import Interruption
from tlx.learner.checkpoints import BEFORE, LAST, AtomicCheckpointIO, Checkpoints, repair, table
from tlx.storage import read_checkpoint


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


def two_states(folder: Path) -> None:
    io = AtomicCheckpointIO()
    for step in (1, 2, 3):
        io.save_checkpoint({"step": step, "weight": torch.full((50,), float(step))}, folder / LAST)


def flip(file: Path, share: float = 0.5) -> None:
    """Turn a bit of a stored tensor over."""
    content = bytearray(file.read_bytes())
    place = content.index(torch.full((50,), content_of(file)).numpy().tobytes()) + int(share * 200)
    content[place] ^= 1
    file.write_bytes(content)


def content_of(file: Path) -> float:
    return float(read_checkpoint(file)["step"])


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    two_states(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [BEFORE, LAST]
    assert [content_of(tmp_path / name) for name in (BEFORE, LAST)] == [2, 3]
    assert repair(tmp_path) == ""
    assert content_of(tmp_path / LAST) == 3


@pytest.mark.parametrize("damage", ["a bit", "torn", "empty", "gone"])
def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    two_states(tmp_path)
    last = tmp_path / LAST
    if damage == "a bit":
        flip(last)
    elif damage == "gone":  # its writer was killed between two renames
        last.unlink()
    else:
        last.write_bytes(b"" if damage == "empty" else last.read_bytes()[:-100])
    told = repair(tmp_path)
    assert (LAST in told and "the state before it" in told) == (damage != "gone")
    assert content_of(last) == 2
    assert not (tmp_path / BEFORE).exists()
    assert repair(tmp_path) == ""


def test_where_both_are_damaged_nobody_goes_on(tmp_path: Path) -> None:
    two_states(tmp_path)
    flip(tmp_path / LAST)
    flip(tmp_path / BEFORE)
    with pytest.raises(InputError, match="no whole state is left; remove"):
        repair(tmp_path)
    assert repair(tmp_path / "another") == ""


def test_torch_itself_reads_a_flipped_bit(tmp_path: Path) -> None:
    """The negative control: without the check nobody would notice."""
    two_states(tmp_path)
    flip(tmp_path / LAST)
    assert not torch.equal(torch.load(tmp_path / LAST)["weight"], torch.full((50,), 3.0))
