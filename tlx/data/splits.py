"""Splits: stratified, seeded, and the same for the same seed whatever else is asked."""

from __future__ import annotations

import numpy as np

from tlx.data.source import Chosen, FileImages, Images
from tlx.errors import InputError
from tlx.randomness import seed_for


def carve(images: FileImages, share: float, seed: int, purpose: str) -> tuple[FileImages, FileImages]:
    """Split off ``share`` of every class (at least one image, never all): (the rest, what was split off).

    Raises:
        InputError: A class with a single image.
    """
    taken: list[int] = []
    for label, members in _by_class(images, seed, purpose):
        if len(members) < 2:
            name = images.name(int(members[0]))
            raise InputError(f"class {label} has one image only ({name})", "give at least three images a class")
        count = min(len(members) - 1, max(1, round(share * len(members))))
        taken += members[:count].tolist()
    chosen = np.zeros(len(images.labels), dtype=bool)
    chosen[taken] = True
    return _pick(images, np.flatnonzero(~chosen)), _pick(images, np.flatnonzero(chosen))


def limit(images: FileImages, per_class: int | None, seed: int) -> FileImages:
    """Keep at most ``per_class`` images of every class (None: all)."""
    if per_class is None:
        return images
    kept = [members[:per_class] for _, members in _by_class(images, seed, "limit")]
    return _pick(images, np.sort(np.concatenate(kept)))


def sample(images: Images, count: int, seed: int) -> Images:
    """Choose at most ``count`` images, every class in its share, two of each wherever ``count`` allows that."""
    if len(images.labels) <= count:
        return images
    place = np.empty(len(images.labels))  # of an image in its class, as a share of it
    for _, members in _by_class(images, seed, "sample"):
        place[members] = np.where(np.arange(len(members)) < 2, 0.0, (np.arange(len(members)) + 0.5) / len(members))
    return Chosen(images, np.sort(np.argsort(place, kind="stable")[:count]))


def _by_class(images: Images, seed: int, purpose: str) -> list[tuple[int, np.ndarray]]:
    groups = []
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        groups.append((int(label), np.random.default_rng(seed_for(seed, purpose, int(label))).permutation(members)))
    return groups


def _pick(images: FileImages, indices: np.ndarray) -> FileImages:
    return FileImages(images.root, tuple(images.paths[i] for i in indices), images.labels[indices])
