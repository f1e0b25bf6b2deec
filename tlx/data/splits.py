"""Splits: stratified, seeded, and the same for the same seed whatever else is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tlx.data.source import Images, choose
from tlx.errors import InputError
from tlx.randomness import seed_for


def carve(
    labels: np.ndarray, parts: np.ndarray, share: float, seed: int, purpose: str, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Split off ``share`` of every class (at least one image, never all): indices of the rest, and of what was taken.

    ``parts`` (N,) numbers what must stay together. Parts of several images are dealt first, from the largest on, where
    they bring the classes nearer to their shares; images that stand alone then make them exact, as far as they go.

    Raises:
        InputError: A class of a single image, or one that lies in a single part.
    """
    _, part, sizes = np.unique(parts, return_inverse=True, return_counts=True)
    total = np.bincount(labels, minlength=len(classes))
    wanted = np.minimum(np.maximum(np.rint(share * total), 1), total - 1).astype(np.int64)
    taken = _deal(labels, part, sizes, wanted, seed_for(seed, purpose))
    for label, members in _by_class(labels, seed, purpose):
        if len(members) < 2:
            what = f"the class {classes[label]!r} has too few images to split: 1, of which {purpose} needs one"
            raise InputError(what, "give at least three images a class, or splits of your own")
        alone = members[sizes[part[members]] == 1]
        taken[alone[: max(0, wanted[label] - int(taken[members].sum()))]] = True
    _complete(taken, labels, part, sizes, classes)
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def _deal(labels: np.ndarray, part: np.ndarray, sizes: np.ndarray, wanted: np.ndarray, seed: int) -> np.ndarray:
    """Take parts of several images while that brings the counts of the classes nearer to ``wanted``."""
    taken = np.zeros(len(labels), dtype=bool)
    members = _members(part, np.flatnonzero(sizes > 1))
    have, left = np.zeros_like(wanted), np.bincount(labels, minlength=len(wanted))
    shuffled = np.random.default_rng(seed).permutation(np.array(list(members), dtype=np.int64))
    for index in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        row = np.bincount(labels[members[index]], minlength=len(wanted))
        if (left[row > 0] > row[row > 0]).all() and np.abs(wanted - have - row).sum() < np.abs(wanted - have).sum():
            taken[members[index]] = True
            have, left = have + row, left - row
    return taken


def _complete(
    taken: np.ndarray, labels: np.ndarray, part: np.ndarray, sizes: np.ndarray, classes: Sequence[str]
) -> None:
    """Take the smallest part of every class of which nothing was taken; all its parts are larger than its share."""
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if taken[own].any():
            continue
        members = _members(part, np.unique(part[own]))
        for index in sorted(members, key=lambda p: (sizes[p], p)):
            left = np.bincount(labels[~taken], minlength=len(classes))
            row = np.bincount(labels[members[index]], minlength=len(classes))
            if (left[row > 0] > row[row > 0]).all():
                taken[members[index]] = True
                break
        else:
            what = f"the images of the class {classes[label]!r} cannot be parted: one group, or copies of one image"
            raise InputError(what, "give images of more groups, or splits of your own")


def _members(part: np.ndarray, wanted: np.ndarray) -> dict[int, np.ndarray]:
    """List the images of each part wanted."""
    order = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[order], wanted)
    ends = np.searchsorted(part[order], wanted, side="right")
    return {int(p): order[a:b] for p, a, b in zip(wanted, starts, ends, strict=True)}


def joined(digests: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Number what must stay together (N,): images of one group, images of equal bytes, and what these two join."""
    _, copies = np.unique(digests, return_inverse=True)
    if groups is None:
        return copies
    _, members = np.unique(groups, return_inverse=True)
    edges = (np.ones(len(copies), dtype=bool), (copies, members + len(copies)))
    size = 2 * len(copies)
    _, parts = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return parts[copies]


def limit(labels: np.ndarray, per_class: int | None, fraction: float | None, seed: int) -> np.ndarray:
    """Choose at most ``per_class`` images of every class, and at most the share ``fraction`` of it: their indices."""
    kept = []
    for _, members in _by_class(labels, seed, "limit"):
        most = len(members) if fraction is None else max(1, round(fraction * len(members)))
        kept.append(members[: most if per_class is None else min(most, per_class)])
    return np.sort(np.concatenate(kept))


def sample(images: Images, count: int, seed: int) -> Images:
    """Choose at most ``count`` images, every class in its share, two of each wherever ``count`` allows that."""
    if len(images.labels) <= count:
        return images
    place = np.empty(len(images.labels))  # of an image in its class, as a share of it
    for _, members in _by_class(images.labels, seed, "sample"):
        place[members] = np.where(np.arange(len(members)) < 2, 0.0, (np.arange(len(members)) + 0.5) / len(members))
    return choose(images, np.sort(np.argsort(place, kind="stable")[:count]))


def _by_class(labels: np.ndarray, seed: int, purpose: str) -> list[tuple[int, np.ndarray]]:
    groups = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        groups.append((int(label), np.random.default_rng(seed_for(seed, purpose, int(label))).permutation(members)))
    return groups
