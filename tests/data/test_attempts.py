"""Images are read in order by threads or workers; one that cannot be read is a reason, and stops nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tlx.data.attempts import AHEAD, attempts
from tlx.data.fault import BadImageError
from tlx.data.threads import CORES
from tlx.data.transforms import Prepare
from tlx.data.tta import Crops
from tlx.preprocessing import Preprocessing

PREPARE = Prepare(Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))


class Colours:
    """Image k has the colour k; ``odd`` says what happens to some of them."""

    def __init__(self, count: int, odd: dict[int, Callable[[], Any]] | None = None) -> None:
        self.count, self.odd = count, odd or {}
        self.read_so_far = 0

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, least: int | None = None) -> Image.Image:
        self.read_so_far += 1
        if index in self.odd:
            self.odd[index]()
        return Image.fromarray(np.full((12, 16, 3), index, np.uint8))


def failing(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def read(images: Colours, workers: int, batch_size: int = 4, tta: str = "none") -> list[Any]:
    return list(attempts(images, Crops(PREPARE, tta), batch_size, workers, range(len(images))))


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_images_are_reasons_among_the_others(workers: int) -> None:
    bad = BadImageError("the image x cannot be decoded", "", "empty", "zero bytes")
    odd = {1: failing(bad), 2: failing(RuntimeError("two\nlines")), **{k: failing(OSError("x")) for k in range(4, 8)}}
    batches = read(Colours(10, odd), workers)
    assert [(batch["first"], batch["last"]) for batch in batches] == [(0, 4), (4, 8), (8, 10)]
    assert [batch["index"].tolist() for batch in batches] == [[0, 3], [], [8, 9]]
    assert batches[0]["faults"] == {1: "empty: zero bytes", 2: "broken: RuntimeError: two lines"}
    assert sorted(batches[1]["faults"]) == [4, 5, 6, 7]
    for batch in batches:
        assert batch["pixels"].dtype == torch.uint8
        assert batch["pixels"].shape == (len(batch["index"]), 1, 8, 8, 3)
        assert (batch["pixels"].flatten(1) == batch["index"][:, None]).all()


def test_threads_keep_the_order_and_read_only_a_little_ahead() -> None:
    slow = {index: lambda: time.sleep(0.02) for index in range(0, 60, 7)}
    images = Colours(60, slow)
    batches = iter(attempts(images, Crops(PREPARE, "none"), 4, 0, range(60)))
    seen = next(batches)["index"].tolist()
    assert images.read_so_far <= (AHEAD + 1) * 4 + CORES
    for batch in batches:
        seen += batch["index"].tolist()
    assert seen == list(range(60))


def test_threads_end_with_who_reads() -> None:
    batches = iter(attempts(Colours(400), Crops(PREPARE, "none"), 4, 0, range(400)))
    next(batches)
    assert threading.active_count() > 1
    before = threading.active_count()
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() < before


def test_no_memory_is_no_broken_image() -> None:
    with pytest.raises(MemoryError):
        read(Colours(3, {1: failing(MemoryError())}), 0)
