"""The feature bank: what a frozen trunk makes of every image, computed once and kept for every later run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from tlx.data.module import ImageModule
from tlx.errors import MachineError, NumericalError
from tlx.features import room
from tlx.features.address import address, ids, ingredients
from tlx.features.filling import Filling, NotFiniteError
from tlx.features.rows import HELD, Rows
from tlx.features.shard import ID_BYTES
from tlx.features.store import Store
from tlx.network.depths import Depths
from tlx.network.inference import Embedder
from tlx.network.network import Network
from tlx.network.trace import evaluating
from tlx.one_thread import one_thread

log = logging.getLogger("tlx")

CANARY = np.zeros((1, ID_BYTES), np.uint8)  # the address of what a trunk makes of a fixed random image
CLOSE = 1e-3  # how far that may lie apart, of its root mean square: threads and machines round differently
LARGE = 256  # images a batch on a GPU, and half as many until its memory takes them
CHUNK = 8192  # rows that are handed from one bank to another at once
NAMESAKES = 16  # trunks of one address that nevertheless compute differently


@dataclass(frozen=True)
class Bank:
    """Pooled features (N, D) float32 of one split, in memory or on disk, and its labels (N,) int64.

    Of drawn views N counts views times images, all images in the first view first.
    """

    features: np.ndarray | Rows
    labels: np.ndarray


class Reader:
    """Reads what one trunk makes of images: rows that are known from the bank, others by a pass over their images.

    Args:
        network: The trunk and its pooling, or a backbone read at several depths.
        images: What to read, and how images are prepared.
        trainer: On what devices, and with which precision.
        root: The folder of all banks; None keeps rows in this process's memory.
    """

    def __init__(
        self, network: Network | Depths, images: ImageModule, trainer: pl.Trainer, root: Path | None = None
    ) -> None:
        self.network, self.images, self.trainer = network, images, trainer
        self.found = self.computed = 0  # rows
        self._adopted: dict[tuple[str, int], int] = {}  # rows that were not there before this run
        self._ids: dict[tuple[str, int], np.ndarray] = {}
        self._read: dict[tuple[str, int], Bank] = {}
        device = trainer.strategy.root_device.type
        self.batch_size = max(1, images.batch_size // trainer.world_size, LARGE if device == "cuda" else 1)
        self.made_of = ingredients(network, images.prepare, str(trainer.precision), device)
        self.store = _opened(network, self.made_of, root)

    def bank(self, split: str, views: int = 0) -> Bank:
        """Return a split's features: of its images as they are, or of so many drawn views of each.

        Raises:
            NumericalError: Features that are not finite.
            MachineError: Processes on several machines do not see the same bank.
        """
        if (split, views) not in self._read:
            self._read[split, views] = self._bank(split, views)
        return self._read[split, views]

    def _bank(self, split: str, views: int) -> Bank:
        wanted, missing = self._missing(split, views)
        if len(missing):
            self._compute(split, wanted, missing, drawn=views > 0)
        self.computed += len(missing)
        self.found += len(wanted) - len(missing) - self._adopted.get((split, views), 0)
        rows = self.store.rows(wanted)
        labels = np.tile(self.images.source.split(split).labels, max(1, views))
        return Bank(rows[:] if rows.nbytes <= HELD else rows, labels)

    def knows(self, split: str, views: int = 0) -> bool:
        """Whether all of a split's rows are there."""
        return not len(self._missing(split, views)[1])

    def adopt(
        self,
        split: str,
        views: int,
        features: np.ndarray | Rows,
        columns: slice | np.ndarray,
        scale: np.ndarray | None = None,
    ) -> None:
        """Keep what another pass has computed: some columns of a split's features (N, all of them), times ``scale``."""
        wanted, missing = self._missing(split, views)
        if self.trainer.is_global_zero:
            self._keep(wanted, missing, features, columns, scale)
        self.trainer.strategy.barrier()
        self.store.refresh()
        self._keep(wanted, self.store.missing(wanted), features, columns, scale)  # of a bank that is not shared
        self._adopted[split, views] = len(missing)

    def _keep(
        self,
        wanted: np.ndarray,
        missing: np.ndarray,
        features: np.ndarray | Rows,
        columns: slice | np.ndarray,
        scale: np.ndarray | None,
    ) -> None:
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            rows = features[part][:, columns]
            self.store.add(wanted[part], rows if scale is None else rows * scale)

    def _missing(self, split: str, views: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a split's addresses, and which of them are not there: every process gets the first one's answer."""
        if (split, views) not in self._ids:
            self._ids[split, views] = ids(self.images.source.split(split), self.images.draw, views)
        wanted = self._ids[split, views]
        return wanted, self.trainer.strategy.broadcast(self.store.missing(wanted))

    def _compute(self, split: str, wanted: np.ndarray, missing: np.ndarray, drawn: bool) -> None:
        trainer, mine = self.trainer, missing[self.trainer.global_rank :: self.trainer.world_size]
        while True:
            try:
                self._pass(split, wanted, mine, drawn)
                break
            except torch.OutOfMemoryError:
                if self.batch_size == 1 or trainer.world_size > 1:
                    raise
                self.batch_size //= 2
                log.info("the device's memory is too small: batches of %s", self.batch_size)
                mine = mine[self.store.missing(wanted[mine])]
        if trainer.world_size > 1:
            self._together(wanted[missing])

    def _pass(self, split: str, wanted: np.ndarray, mine: np.ndarray, drawn: bool) -> None:
        trainer, count = self.trainer, len(self.images.source.split(split).labels)
        keys = [divmod(int(index), count) for index in mine]
        loader = self.images.loader_of(split, keys, drawn, self.batch_size, trainer.strategy.root_device.type)
        filling = Filling(self.store, wanted[mine], lambda: room.mark(self.store, self.made_of))
        trainer.callbacks.append(filling)  # type: ignore[attr-defined]
        try:
            trainer.predict(Embedder(self.network), loader, return_predictions=False)
        except NotFiniteError:
            pass
        finally:  # also of an interrupted pass, what is done is kept
            trainer.callbacks.remove(filling)  # type: ignore[attr-defined]
            filling.flush()
        bad = None if filling.bad is None else int(mine[filling.bad]) % count
        if trainer.world_size > 1:  # all of them end, or none
            found: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(found, bad)
            bad = next((index for index in found if index is not None), None)
        if bad is not None:
            name = self.images.source.split(split).name(bad)
            raise NumericalError(f"the features of {name} are not finite", "set trainer.precision=32")

    def _together(self, wanted: np.ndarray) -> None:
        """See what the other processes have computed."""
        self.trainer.strategy.barrier()
        self.store.refresh()
        lacking = self.store.missing(wanted)
        gathered: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(gathered, wanted[lacking])
        asked = np.unique(np.concatenate(gathered), axis=0)
        if not len(asked):
            return
        # A bank in memory, or on a disk that not all machines share.
        known = np.setdiff1d(np.arange(len(asked)), self.store.missing(asked))
        torch.distributed.all_gather_object(gathered, (asked[known], self.store.rows(asked[known])[:]))
        for addresses, rows in gathered:
            new = self.store.missing(addresses)
            self.store.add(addresses[new], rows[new])
        if len(self.store.missing(wanted)):
            raise MachineError("processes do not see each other's features", "give a folder they share: features.dir")


def _opened(network: Network | Depths, made_of: dict[str, Any], root: Path | None) -> Store:
    """Open the store of a trunk; one of the same address that computes something else is another one."""
    size = network.image_size if isinstance(network, Depths) else network.trunk.image_size
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with one_thread(), torch.no_grad(), evaluating(network):
        canary = network.embed(image).float().numpy()
    if root is None:
        return Store(None, canary.shape[1])
    name = address(made_of)
    for number in range(NAMESAKES):
        store = Store(root / (f"{name}-{number}" if number else name), canary.shape[1])
        if len(store.missing(CANARY)):
            store.add(CANARY, canary)
            room.mark(store, made_of)
            return store
        apart = np.abs(store.rows(CANARY)[:] - canary).max()
        if apart <= CLOSE * float(np.sqrt(np.square(canary).mean())):
            room.mark(store, made_of)
            return store
    return Store(None, canary.shape[1])
