"""The order of training images: stateless, whole, shared out, resumable."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tlx.data.order import Order
from tlx.errors import InputError

COUNT, BATCH, WORLD = st.integers(1, 200), st.integers(1, 70), st.integers(1, 5)


def order(count: int, batch: int, seed: int = 0, balanced: bool = False, rank: int = 0, world: int = 1) -> Order:
    return Order(np.arange(count) % 3, batch, seed, balanced, rank, world)


def epoch(o: Order, number: int) -> list[list[int]]:
    o.set_epoch(number)
    batches = list(o)
    assert all(e == number for batch in batches for e, _ in batch)
    return [[index for _, index in batch] for batch in batches]


@given(COUNT, BATCH, st.integers(0, 9))
def test_every_image_once_an_epoch_and_no_tail_of_one(count: int, batch: int, number: int) -> None:
    batches = epoch(order(count, batch), number)
    assert sorted(i for b in batches for i in b) == list(range(count))
    assert len(batches) == len(order(count, batch))
    if batch > 1 and count > 1:
        assert min(map(len, batches)) >= 2
    assert all(len(b) == batch for b in batches[:-1])
    assert len(batches[-1]) <= batch + 1


@given(COUNT, BATCH, WORLD)
def test_the_parts_of_all_processes_are_the_whole_batches(count: int, batch: int, world: int) -> None:
    assume(count >= 2 * world and batch >= world)
    parts = [order(count, batch, rank=rank, world=world) for rank in range(world)]
    whole = order(count, batch, world=world).batches(4)
    shares = [epoch(part, 4) for part in parts]
    assert {len(share) for share in shares} == {len(whole)} == {len(part) for part in parts}
    for number, batch_indices in enumerate(whole):
        together = [share[number] for share in shares]
        assert sorted(chain.from_iterable(together)) == sorted(batch_indices.tolist())
        assert max(map(len, together)) - min(map(len, together)) <= 1
        if batch >= 2 * world:
            assert min(map(len, together)) >= 2  # one image alone breaks BatchNorm


@given(COUNT, BATCH, st.data())
def test_a_resumed_epoch_goes_on_exactly(count: int, batch: int, data: st.DataObject) -> None:
    o = order(count, batch)
    done = data.draw(st.integers(0, len(o)))
    full = epoch(o, 2)
    o.start = (2, done)
    assert epoch(o, 2) == full[done:]
    assert epoch(o, 3) == epoch(order(count, batch), 3)  # the next epoch is whole
    assert epoch(o, 1) == epoch(order(count, batch), 1)


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    np.random.seed(0)
    one = order(50, 8)
    first = [epoch(one, n) for n in range(4)]
    np.random.seed(1)
    assert [epoch(order(50, 8), n) for n in (3, 2, 1, 0)] == first[::-1]
    assert len({str(f) for f in first}) == 4
    assert epoch(order(50, 8, seed=1), 0) != first[0]
    assert epoch(order(50, 50), 0)[0] == list(chain.from_iterable(first[0]))  # the batch size cuts, it does not shuffle


@pytest.mark.parametrize(
    ("count", "batch", "world", "sizes"),
    [
        (9, 4, 1, [4, 5]),
        (10, 4, 1, [4, 4, 2]),
        (8, 4, 1, [4, 4]),
        (3, 4, 1, [3]),
        (1, 4, 1, [1]),
        (5, 4, 1, [5]),
        (11, 4, 2, [4, 7]),
        (12, 4, 2, [4, 4, 4]),
        (3, 1, 1, [1, 1, 1]),
        (6, 3, 2, [3, 3]),
    ],
)
def test_tails(count: int, batch: int, world: int, sizes: list[int]) -> None:
    assert [len(b) for b in order(count, batch, world=world).batches(0)] == sizes


def test_a_batch_that_leaves_a_process_without_images_is_told() -> None:
    with pytest.raises(InputError, match=r"data\.batch_size=2 is smaller than the 3 processes"):
        order(100, 2, world=3)


def test_a_balanced_order_draws_classes_equally() -> None:
    labels = np.repeat([0, 1, 3], [900, 90, 10])  # class 2 has no images
    o = Order(labels, 50, 0, balanced=True)
    drawn = np.concatenate([labels[np.concatenate(o.batches(e))] for e in range(6)])
    share = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(share, [1 / 3, 1 / 3, 0, 1 / 3], atol=4 * np.sqrt(2 / 9 / len(drawn)))
    plain = labels[np.concatenate(Order(labels, 50, 0).batches(0))]
    assert (plain == 0).mean() == 0.9
    assert epoch(o, 1) == epoch(Order(labels, 50, 0, balanced=True), 1)
    assert len(epoch(o, 1)) == len(o) == 20
