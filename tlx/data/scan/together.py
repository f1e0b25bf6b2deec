"""Together: the images of all given splits as one row, so that what is found of them fits into arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tlx.data.source import Images, leave_out


@dataclass(frozen=True)
class Together:
    """N images: those of one given split after those of the other."""

    given: dict[str, Images]

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each split begins, and the end of the last: (S + 1,)."""
        return np.cumsum([0, *(len(images.labels) for images in self.given.values())])

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels (N,)."""
        return np.concatenate([images.labels for images in self.given.values()])

    @cached_property
    def splits(self) -> np.ndarray:
        """Which split each image is in, by its place in ``given``: (N,) int8."""
        return np.repeat(np.arange(len(self.given), dtype=np.int8), np.diff(self.starts))

    @property
    def digests(self) -> np.ndarray:
        """The hashes of the contents (N,)."""
        return np.concatenate([images.digests for images in self.given.values()])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def at(self, index: int) -> tuple[Images, int]:
        """Return the split that an image is in, and its index there."""
        split = int(self.splits[index])
        return list(self.given.values())[split], index - int(self.starts[split])

    def split_of(self, index: int) -> str:
        """Return the name of the split that an image is in."""
        return list(self.given)[int(self.splits[index])]

    def name(self, index: int) -> str:
        """Return an image's own name."""
        images, place = self.at(index)
        return images.name(place)

    def parted(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Part values (N, ...) by split."""
        return dict(zip(self.given, np.split(values, self.starts[1:-1]), strict=True))

    def without(self, bad: np.ndarray) -> dict[str, Images]:
        """Return the splits without the images that a mask (N,) marks."""
        return {split: leave_out(self.given[split], mask) for split, mask in self.parted(bad).items()}
