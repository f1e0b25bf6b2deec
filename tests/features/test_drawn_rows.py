"""DrawnRows: batches of rows in the place of batches of images."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.features.clusters import bank
from tlx.features.bank import Bank
from tlx.features.drawn_rows import DrawnRows

IMAGES = 11


@given(
    views=st.integers(1, 4),
    epoch=st.integers(0, 9),
    index=st.lists(st.integers(0, IMAGES - 1), min_size=1, max_size=20),
)
def test_every_epoch_reads_the_next_view(views: int, epoch: int, index: list[int]) -> None:
    """Rows of drawn views lie view after view, as a reader of the bank returns them."""
    rows = np.arange(views * IMAGES * 3, dtype=np.float32).reshape(views, IMAGES, 3)
    labels = np.arange(IMAGES) % 4
    drawn = DrawnRows(Bank(rows.reshape(-1, 3), np.tile(labels, views)), IMAGES)
    batch = drawn[[(epoch, i) for i in index]]
    assert torch.equal(batch["image"], torch.from_numpy(rows[epoch % views, index]))
    assert batch["label"].tolist() == labels[index].tolist()
    assert batch["index"].tolist() == index
    assert len(drawn) == IMAGES


def test_what_was_read_is_a_copy() -> None:
    held = bank(8, 3, 2)
    before = held.features[:].copy()
    DrawnRows(held, 8)[[(0, 3)]]["image"].zero_()
    assert np.array_equal(held.features[:], before)
