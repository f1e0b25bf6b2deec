"""Filling: what a pass computes is kept shard by shard, and a pass that computes nothing sensible ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tlx.features import filling as module
from tlx.features.filling import Filling, NotFiniteError
from tlx.features.store import Store

COUNT, BATCH, WIDTH = 200, 4, 3
IDS = np.random.default_rng(0).integers(0, 256, (COUNT, 16), dtype=np.uint8)


def passed(filling: Filling, rows: torch.Tensor, processes: int = 1) -> int:
    """Hand over rows batch by batch; return how many batches there were until the pass ended."""
    trainer: Any = SimpleNamespace(world_size=processes)
    for number, batch in enumerate(rows.split(BATCH)):
        try:
            filling.on_predict_batch_end(trainer, None, (None, batch), None, number)  # type: ignore[arg-type]
        except NotFiniteError:
            return number + 1
    filling.flush()
    return len(rows) // BATCH


@pytest.mark.parametrize("size", [1, 2**40])
def test_rows_are_kept_in_their_order(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", size)
    store, told = Store(None, WIDTH), []
    rows = torch.randn(COUNT, WIDTH)
    assert passed(Filling(store, IDS, lambda: told.append(1)), rows) == COUNT // BATCH
    assert np.array_equal(store.rows(IDS)[:], rows.numpy())
    assert len(told) == (1 if size > 1 else -(-COUNT // (BATCH * module.WAITING)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("bad", [0, 50, COUNT - 1])
def test_a_pass_ends_soon_after_a_row_that_is_not_finite(bad: int, value: float) -> None:
    rows = torch.randn(COUNT, WIDTH)
    rows[bad, 1] = value
    store = Store(None, WIDTH)
    filling = Filling(store, IDS)
    assert passed(filling, rows) <= bad // BATCH + module.WAITING
    assert filling.bad == bad
    assert len(store.missing(IDS)) == COUNT - bad


def test_with_other_processes_it_goes_on_to_its_end() -> None:
    """They wait for each other there."""
    rows = torch.randn(COUNT, WIDTH)
    rows[0] = float("nan")
    filling = Filling(Store(None, WIDTH), IDS)
    assert passed(filling, rows, processes=2) == COUNT // BATCH
    assert filling.bad == 0
