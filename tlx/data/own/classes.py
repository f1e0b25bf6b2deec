"""Classes: from labels by name to one class map for all splits of a source."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Named:
    """The labels of some images: ``codes`` (N,) are places in ``names``, negative where an image has no label.

    ``declared``: the source itself says in which order the names stand.
    """

    codes: np.ndarray
    names: tuple[str, ...]
    declared: bool = False


def class_map(train: Named) -> tuple[str, ...]:
    """Name the classes of the training images in label order: one map, made of ``train``, for every split.

    The order is the source's own where it declares one. Else whole numbers are sorted by value, all else as text.
    """
    there = [train.names[code] for code in np.unique(train.codes[train.codes >= 0])]
    if train.declared:
        return tuple(there)
    return tuple(sorted(there, key=int) if all(map(WHOLE.fullmatch, there)) else sorted(there))


def labels(named: Named, classes: tuple[str, ...]) -> np.ndarray:
    """Number labels by the class map (N,) int64; -1 where an image has no label, or one that the map lacks."""
    place = {name: index for index, name in enumerate(classes)}
    lookup = np.array([*(place.get(name, -1) for name in named.names), -1], dtype=np.int64)
    return lookup[np.where(named.codes < 0, len(named.names), named.codes)]
