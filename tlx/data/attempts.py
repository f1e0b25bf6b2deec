"""Attempts: images without labels in batches, in order, read ahead; one that cannot be read becomes a reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from tlx.data.fault import BROKEN
from tlx.data.module import Loader, quiet
from tlx.data.shared_memory import fitting
from tlx.data.threads import CORES
from tlx.data.tta import Crops
from tlx.errors import InputError, MachineError

AHEAD = 2  # batches that are read while one is computed


class Readable(Protocol):
    """Images, addressed by index."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Decode to RGB; the short side may be smaller than the image's own, but has ``least`` pixels if that has."""


class Attempt(TypedDict):
    """The images ``first`` to ``last`` - 1: ``faults`` by index, and the M others that could be read.

    ``pixels`` (M, V, S, S, 3) uint8 are their V views, ``index`` (M,) int64 says which they are.
    """

    first: int
    last: int
    pixels: torch.Tensor
    index: torch.Tensor
    faults: dict[int, str]


class Attempts(Dataset[Attempt]):
    """Reads the images of a range."""

    def __init__(self, images: Readable, crops: Crops) -> None:
        self.images = images
        self.crops = crops

    def __getitem__(self, places: range) -> Attempt:
        side, faults = self.crops.prepare.image_size, dict[int, str]()
        pixels = np.empty((len(places), self.crops.views, side, side, 3), np.uint8)
        good: list[int] = []
        for index in places:
            try:
                for number, view in enumerate(self.crops(self.images.read(index, self.crops.least))):
                    pixels[len(good), number] = np.asarray(view)
                good.append(index)
            except Exception as error:  # whatever a damaged file makes of its reader, the others are not touched
                if isinstance(error, MemoryError):
                    raise
                faults[index] = reason(error)
        return Attempt(
            first=places.start,
            last=places.stop,
            pixels=torch.from_numpy(pixels[: len(good)]),
            index=torch.tensor(good, dtype=torch.int64),
            faults=faults,
        )


def reason(error: Exception) -> str:
    """Say in a line what is wrong with an image."""
    if isinstance(error, InputError | MachineError):
        known, detail = getattr(error, "reason", BROKEN), getattr(error, "detail", error.what)
        return f"{known}: {detail}" if detail else str(known)
    return " ".join(f"{BROKEN}: {type(error).__name__}: {error}".split())


class Threaded:
    """The attempts of all ``batches``, read by threads of this process while what came before is computed."""

    def __init__(self, attempts: Attempts, batches: Sequence[range]) -> None:
        self.attempts = attempts
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Attempt]:
        pool, waiting = ThreadPoolExecutor(CORES), deque[list[Future[Attempt]]]()
        try:
            for batch in self.batches:
                share = -(-len(batch) // CORES)
                parts = [batch[at : at + share] for at in range(0, len(batch), share)]
                waiting.append([pool.submit(self.attempts.__getitem__, part) for part in parts])
                if len(waiting) > AHEAD:
                    yield _joined([part.result() for part in waiting.popleft()])
            while waiting:
                yield _joined([part.result() for part in waiting.popleft()])
        finally:
            pool.shutdown(cancel_futures=True)


def _joined(parts: list[Attempt]) -> Attempt:
    return Attempt(
        first=parts[0]["first"],
        last=parts[-1]["last"],
        pixels=torch.cat([part["pixels"] for part in parts]),
        index=torch.cat([part["index"] for part in parts]),
        faults={index: told for part in parts for index, told in part["faults"].items()},
    )


def attempts(images: Readable, crops: Crops, batch_size: int, workers: int, places: range) -> Any:
    """Return what yields an ``Attempt`` for every ``batch_size`` of ``places``: read by threads, or by ``workers``."""
    batches = [places[at : at + batch_size] for at in range(0, len(places), batch_size)]
    side = crops.prepare.image_size
    workers = fitting(workers, batch_size * crops.views * 3 * side**2)
    if not workers:
        return Threaded(Attempts(images, crops), batches)
    return Loader(
        Attempts(images, crops),
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=quiet,
    )
