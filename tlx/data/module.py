"""The LightningDataModule: a source, prepared and read in order."""

from __future__ import annotations

import logging
import signal
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from tlx.data.cache import Size, cached
from tlx.data.order import Key, Order
from tlx.data.shared_memory import fitting
from tlx.data.source import FileImages, Images, Source
from tlx.data.threads import CORES
from tlx.data.transforms import Augment, Draw, Prepare
from tlx.errors import InputError
from tlx.interruption import SIGNALS

log = logging.getLogger("tlx")

LAST_SAVE_S = 30
LARGE = 1024  # a batch that is only validated


class Batch(TypedDict):
    """Images (N, 3, S, S) float32, labels (N,) int64, their indices in the split (N,) int64.

    In the place of images there may be what is known of them (N, D).
    """

    image: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor


class Views(Dataset[dict[str, Any]]):
    """A split's images as tensors: prepared as for testing, or drawn at random for training."""

    def __init__(self, images: Images, prepare: Prepare, draw: Draw | None = None) -> None:
        self.images = images
        self.prepare = prepare
        self.draw = draw

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key
        image = self.images.read(index, (self.draw or self.prepare).least)
        tensor = self.draw(image, epoch, index) if self.draw else self.prepare(image)
        return {"image": tensor, "label": int(self.images.labels[index]), "index": index}


class ThreadedViews(Views):
    """Views that threads of this process prepare, a batch at once, as for testing.

    On a processor that also computes the network, decoding and computing take turns, each on all cores: worker
    processes would take cores from threads that wait for each other.
    """

    def __init__(self, images: Images, prepare: Prepare) -> None:
        super().__init__(images, prepare)
        self.pool = ThreadPoolExecutor(CORES)

    def __getitems__(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        """Prepare a batch; what Pillow does lets go of Python's lock, what torch does has threads of its own."""
        index = [key[1] for key in keys]
        sized = self.pool.map(lambda i: self.prepare.sized(self.images.read(i, self.prepare.least)), index)
        labels = self.images.labels
        return [
            {"image": self.prepare.normalise(image), "label": int(labels[i]), "index": i}
            for i, image in zip(index, sized, strict=True)
        ]


class Loader(DataLoader[Any]):
    """A DataLoader whose workers can be ended at any moment, also when an exception keeps its iterator alive."""

    def __iter__(self) -> Any:
        iterator = super().__iter__()
        _iterators.add(iterator)
        return iterator


_iterators: weakref.WeakSet[Any] = weakref.WeakSet()


@contextmanager
def ending_workers() -> Iterator[None]:
    """End every worker process that the block leaves behind: they ignore signals, so nobody else would."""
    try:
        yield
    finally:
        for iterator in list(_iterators):
            if shutdown := getattr(iterator, "_shutdown_workers", None):
                shutdown()


class ImageModule(pl.LightningDataModule):
    """Hands a source to Lightning. ``batch_size`` counts all processes together."""

    def __init__(
        self,
        source: Source,
        prepare: Prepare,
        augment: Augment,
        batch_size: int,
        workers: int | None,
        balance: str,
        seed: int,
        place: tuple[int, int] = (0, 1),
        cache: str = "none",
        cache_dir: Path = Path(),
    ) -> None:
        super().__init__()
        self.place = place  # (rank, world)
        self.source = source
        self.prepare = prepare
        self.draw = Draw(prepare, augment, seed)
        self.batch_size = batch_size
        self.chooses = workers is None  # how images are read, itself
        wanted = workers_for(source, workers)
        self.workers = fitting(wanted, batch_size // place[1] * bytes_of(prepare.image_size))
        if self.workers < wanted:
            log.warning("shared memory has room for %d of %d workers", self.workers, wanted)
        self.balance = balance
        self.seed = seed
        self.order = Order(source.train.labels, batch_size, seed, balance == "sampler", *place)
        self.cache, self.cache_dir = cache, cache_dir
        self.instead: dict[str, Dataset[Batch]] = {}  # by split: what is read in the place of images, a batch at once
        self.position = (0, 0)  # where a loaded checkpoint stopped: epoch, and how many of its batches were done

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training loader, which goes on where a loaded checkpoint stopped."""
        # Lightning opens the first iterator before it tells the epoch: say it here, or epoch 0's order is replayed.
        self.order.start, self.order.epoch = self.position, self.position[0]
        if "train" in self.instead:
            return self._batches("train", self.order)
        views = Views(self._cached("train", self.draw), self.prepare, self.draw)
        return self._loader(views, batch_sampler=self.order, persistent_workers=self.workers > 0)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation loader."""
        if "val" in self.instead:
            mine = self._mine(self.source.val)
            return self._batches("val", [mine[at : at + LARGE] for at in range(0, len(mine), LARGE)])
        return self._plain(self._cached("val", self.prepare))

    def plain_loader(self, split: str) -> DataLoader[Any]:
        """Return a loader over a split in its own order, prepared as for testing, shared out over processes."""
        return self._plain(self.source.split(split))

    def loader_of(
        self, split: str, keys: Sequence[Key], drawn: bool, batch_size: int, device: str = "cpu"
    ) -> DataLoader[Any]:
        """Return a loader over (view, index) pairs, for this process alone: drawn views, or images as for testing.

        ``device``: the type of that on which the network computes.
        """
        images = self.source.split(split)
        if device == "cpu" and not drawn and self.chooses and isinstance(images, FileImages):
            return DataLoader(ThreadedViews(images, self.prepare), sampler=keys, batch_size=batch_size)
        views = Views(images, self.prepare, self.draw if drawn else None)
        return self._loader(views, sampler=keys, batch_size=batch_size)

    def _plain(self, images: Images) -> DataLoader[Any]:
        keys = self._mine(images)
        size = max(1, self.batch_size // self.place[1])
        return self._loader(Views(images, self.prepare), sampler=keys, batch_size=size)

    def _mine(self, images: Images) -> list[Key]:
        """Return the keys of this process's part of a split, in its order."""
        rank, world = self.place
        return [(0, index) for index in range(rank, len(images.labels), world)]

    def _batches(self, split: str, batches: Order | list[list[Key]]) -> DataLoader[Any]:
        """Return a loader over what is read in the place of a split's images: it is at hand, and needs no workers."""
        return DataLoader(self.instead[split], sampler=batches, batch_size=None, pin_memory=torch.cuda.is_available())

    def class_weights(self, solving: bool = False) -> torch.Tensor | None:
        """Return weights (num_classes,) that give every class the same say in the loss, or None.

        A solver draws no batches: for it, a balanced sampler is the same as weights.
        """
        if self.balance == "none" or (self.balance == "sampler" and not solving):
            return None
        counts = np.bincount(self.source.train.labels, minlength=len(self.source.classes))
        if not counts.all():
            empty = self.source.classes[int(np.argmin(counts))]
            raise InputError(f"class {empty!r} has no training image", "add images or use data.balance=none")
        return torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)

    def state_dict(self) -> dict[str, Any]:
        """Return how far the training data was read: the epoch, and how many of its batches are done."""
        trainer = self.trainer
        assert trainer is not None
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        whole = done >= trainer.num_training_batches
        return {"epoch": trainer.current_epoch + whole, "batches": 0 if whole else done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over how far the training data was read."""
        self.position = (int(state_dict["epoch"]), int(state_dict["batches"]))

    def _cached(self, split: str, view: Prepare | Draw) -> Images:
        """Return a split's images as a view reads them epoch by epoch."""
        size = Size(view.side, view.least, self.prepare.resampling)
        return cached(self.source.split(split), self.cache, self.cache_dir, size)

    def _loader(self, views: Views, **how: Any) -> DataLoader[Any]:
        return Loader(
            views,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=quiet if self.workers else None,
            **how,
        )


def workers_for(source: Source, asked: int | None) -> int:
    """Return how many worker processes are wanted.

    Images in memory cost less to prepare than to send between processes; files are decoded beside the training.
    """
    return asked if asked is not None else 0 if source.in_memory else CORES


def bytes_of(image_size: int) -> int:
    """Return how many bytes an image has as a tensor (3, S, S) float32."""
    return 4 * 3 * image_size**2


def quiet(_: int) -> None:
    """Leave signals to the main process, which saves the state and then ends its workers.

    A worker that is told to end and hears nothing more for as long as a save may take ends by itself.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(LAST_SAVE_S))
    torch.set_num_threads(1)
