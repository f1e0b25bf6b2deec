"""Paired tests: whether two runs differ on the very same test images by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """Two runs by their place in a list: images that only one of them has right, and how likely chance does that.

    ``p`` is that of McNemar's exact test, ``adjusted`` the same where many pairs are looked at together (Holm, 1979).
    """

    one: int
    other: int
    only_one: int
    only_other: int
    images: int
    p: float
    adjusted: float = 1.0

    @property
    def difference(self) -> float:
        """Accuracy of the one minus that of the other."""
        return (self.only_one - self.only_other) / self.images

    @property
    def real(self) -> bool:
        """Whether chance alone hardly explains the difference."""
        return self.adjusted < LEVEL


def paired(right: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]]) -> list[Pair]:
    """Test pairs of runs; ``right`` says for each run which of the same N images it has right (N,).

    Where both are equally good, an image that only one has right is as likely the one's as the other's (McNemar, 1947).
    """
    from scipy.stats import binomtest

    found = []
    for one, other in pairs:
        first, second = right[one], right[other]
        only_one, only_other = int((first & ~second).sum()), int((second & ~first).sum())
        apart = only_one + only_other
        p = float(binomtest(only_one, apart, 0.5).pvalue) if apart else 1.0
        found.append(Pair(one, other, only_one, only_other, len(first), p))
    return _adjusted(found)


def _adjusted(found: list[Pair]) -> list[Pair]:
    """Adjust p for the number of tests, the smallest first, each at least as large as those before it."""
    order = sorted(range(len(found)), key=lambda index: found[index].p)
    largest, done = 0.0, list(found)
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, found[index].p * (len(found) - rank)))
        one = found[index]
        done[index] = Pair(one.one, one.other, one.only_one, one.only_other, one.images, one.p, largest)
    return done
