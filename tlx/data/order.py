"""The order in which training images are read: a function of (seed, epoch), shared out over processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from tlx.errors import InputError
from tlx.randomness import seed_for

Key = tuple[int, int]  # (epoch, index)


class Order(Sampler[list[Key]]):
    """Batches of (epoch, index), the same in every process, each process reading its part.

    ``batch_size`` counts all processes together. A tail too small for every process to get two images (one image
    alone breaks BatchNorm) joins the batch before it. After a resume, the batches that were already trained on are
    skipped, not replayed.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        seed: int,
        balanced: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < world:
            raise InputError(f"data.batch_size={batch_size} is smaller than the {world} processes", "raise it")
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed
        self.balanced = balanced
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.start: tuple[int, int] = (0, 0)  # (epoch, batches of it that are done)

    @property
    def sampler(self) -> Order:
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration yields."""
        self.epoch = epoch

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return an epoch's batches, over all processes."""
        rng = np.random.default_rng(seed_for(self.seed, "order", epoch))
        count = len(self.labels)
        if self.balanced:
            present, members = np.unique(self.labels, return_counts=True)
            share = dict(zip(present.tolist(), (1 / (members * len(present))).tolist(), strict=True))
            indices = rng.choice(count, size=count, p=np.array([share[label] for label in self.labels.tolist()]))
        else:
            indices = rng.permutation(count)
        return np.split(indices, self._cuts())

    def _cuts(self) -> range:
        """Return where an epoch is cut into batches."""
        count = len(self.labels)
        tail = count % self.batch_size
        return range(self.batch_size, count - tail + (tail >= 2 * self.world), self.batch_size)

    def __len__(self) -> int:
        return len(self._cuts()) + 1

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        done = self.start[1] if epoch == self.start[0] else 0
        for batch in self.batches(epoch)[done:]:
            yield [(epoch, int(index)) for index in batch[self.rank :: self.world]]
