"""A loss that is not finite ends the training by name, whether it is looked at in every step or from time to time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from tests.interrupting import Command
from tlx.errors import NumericalError
from tlx.learner import watch
from tlx.learner.watch import LossWatch
from tlx.storage import read_checkpoint

BAD = torch.tensor(float("nan"))
# One step of 17 makes the second one infinite; after every batch it is time to save.
RUN = (
    "case=large_similar", *TINY, "data=digits", "data.per_class=4", "data.batch_size=8", "optimizer=sgd",
    "optimizer.lr=1e18", "schedule=constant", "trainer.gradient_clip=null", "trainer.max_epochs=2",
    "callbacks.progress=false", "callbacks.checkpoint.every_seconds=1e-9", "hydra.run.dir=run",
)  # fmt: skip


def test_on_a_cpu_every_step_is_looked_at() -> None:
    seen = LossWatch()
    seen.see(torch.tensor(1.0), 2, 6)
    with pytest.raises(NumericalError, match="the loss is nan in epoch 2, batch 7"):
        seen.see(BAD, 2, 7)


def test_elsewhere_the_first_bad_step_is_found_at_the_next_look() -> None:
    seen = LossWatch(every=4)
    for batch, loss in enumerate([torch.tensor(1.0), -BAD.new_tensor(float("inf")), BAD]):
        seen.see(loss, 3, batch)
    with pytest.raises(NumericalError, match="the loss is -inf in epoch 3, batch 1"):
        seen.see(torch.tensor(1.0), 3, 3)
    with pytest.raises(NumericalError, match="batch 1"):
        seen.look()


def test_without_a_bad_step_looking_is_silent() -> None:
    seen = LossWatch(every=2)
    seen.look()
    for batch in range(5):
        seen.see(torch.tensor(1.0), 0, batch)
    seen.look()


def test_a_bad_step_of_another_process_ends_this_one_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first process would go on to save what the other's gradients have made of the weights."""
    seen = LossWatch(every=9)
    seen.see(torch.tensor(1.0), 0, 2)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, _: tensor)
    seen.look()
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, _: tensor.fill_(2.0))
    with pytest.raises(NumericalError, match="the loss is nan in epoch 0, batch 2"):
        seen.look()


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as on another device: not in every step."""
    original = LossWatch.__init__
    monkeypatch.setattr(LossWatch, "__init__", lambda self: original(self, every=watch.EVERY))


def finite(path: Path) -> bool:
    state = read_checkpoint(path)["state_dict"]
    return all(bool(tensor.isfinite().all()) for tensor in state.values() if tensor.is_floating_point())


def test_nothing_is_saved_after_a_bad_step(tlx: Command, tmp_path: Path, seldom: None) -> None:
    answer = tlx(*RUN)
    assert answer.code == 4
    assert "in epoch 0, batch" in answer.err
    last = tmp_path / "run" / "checkpoints" / "train" / "last.ckpt"
    assert not list(last.parent.glob("best*"))
    number = int(answer.err.partition("batch ")[2].partition(";")[0])
    assert 0 < number < 4  # it was found when the state was about to be saved, not at the epoch's end
    assert last.is_file()


@pytest.mark.parametrize("blind", [("loss",), ("weights",), ("loss", "weights")])
def test_what_does_not_look_saves_a_broken_state(
    tlx: Command, tmp_path: Path, seldom: None, monkeypatch: pytest.MonkeyPatch, blind: tuple[str, ...]
) -> None:
    """Negative control: a look at the loss or at the weights is enough, without both the state is broken."""
    if "loss" in blind:
        monkeypatch.setattr(LossWatch, "look", lambda self: None)
    if "weights" in blind:
        monkeypatch.setattr("tlx.learner.learner.finite", lambda tensors: True)
    tlx(*RUN)
    assert finite(tmp_path / "run" / "checkpoints" / "train" / "last.ckpt") == (len(blind) == 1)
