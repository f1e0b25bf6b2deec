"""Names: a million paths, packed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np


class Names(Sequence[str]):
    """A tuple of strings in two arrays: a third of the memory, and nothing that a data worker's reading would copy.

    A forked worker shares its parent's memory until it writes there; counting references to a million strings does.
    Names of files that are no valid UTF-8 are kept as Python spells them.
    """

    def __init__(self, content: bytes, ends: np.ndarray) -> None:
        self._bytes = content
        self._ends = ends  # (N,) int64: where in the bytes each name ends, and the next begins

    @classmethod
    def of(cls, names: Iterable[str]) -> Names:
        """Pack strings."""
        encoded = [os.fsencode(name) for name in names]
        return cls(b"".join(encoded), np.cumsum([len(name) for name in encoded], dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        place = range(len(self))[index]  # negative indices, and the error of one out of range
        start = self._ends[place - 1] if place else 0
        return os.fsdecode(self._bytes[start : self._ends[place]])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]
