"""A pass hands on every batch in order; a signal ends it between two batches, with what was computed handed on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from tlx.config.groups import Trainer
from tlx.errors import Interrupted
from tlx.interruption import Interruption
from tlx.learner.answering import Answering
from tlx.learner.trainer import make_trainer
from tlx.network.probabilities import Likely
from tlx.results.answers import Answer


class Counting(pl.LightningModule):
    """Says of every image its index; ``signal_at`` is the batch in which a signal comes."""

    def __init__(self, signal_at: int = -1) -> None:
        super().__init__()
        self.signal_at = signal_at

    def predict_step(self, batch: Any, batch_idx: int) -> Likely:
        if batch_idx == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        index = batch["index"][:, None]
        return Likely(index, index.float(), torch.empty(len(index), 0))


class Batches:
    """A loader; Lightning takes a list for several of them."""

    def __len__(self) -> int:
        return 10

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(batches(20))


def batches(count: int) -> list[dict[str, Any]]:
    return [{"first": k, "last": k + 2, "faults": {k: "x"}, "index": torch.tensor([k + 1])} for k in range(0, count, 2)]


def run(module: Counting, taken: list[Answer], interruption: Interruption | None = None) -> None:
    trainer = make_trainer(Trainer(accelerator="cpu"))
    trainer.callbacks.append(Answering(taken.append, interruption))  # type: ignore[attr-defined]
    trainer.predict(module, Batches(), return_predictions=False)


@pytest.mark.parametrize("waits", [True, False])
def test_every_batch_is_handed_on_in_order(monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    if waits:  # as on a device
        monkeypatch.setattr(Counting, "device", property(lambda _: torch.device("meta")))
    taken: list[Answer] = []
    run(Counting(), taken)
    assert [answer.first for answer in taken] == list(range(0, 20, 2))
    assert all(answer.classes.tolist() == [[answer.first + 1]] for answer in taken)
    assert [answer.wrong for answer in taken] == [{answer.first: "x"} for answer in taken]


def test_a_signal_ends_it_behind_its_batch() -> None:
    taken: list[Answer] = []
    interruption = Interruption("", lambda: f"{len(taken)} are there")
    with (
        pytest.raises(Interrupted, match=r"interrupted by SIGTERM, 4 are there$") as error,
        interruption.watch(),
        interruption.defer(),
    ):
        run(Counting(signal_at=3), taken, interruption)
    assert len(taken) == 4
    assert error.value.exit_code == 143
