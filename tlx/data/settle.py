"""Settle: from the images that a source holds to its three splits."""

from __future__ import annotations

import numpy as np

from tlx.config.groups import OwnData
from tlx.data.found import Found
from tlx.data.source import Images, Source, choose
from tlx.data.splits import carve, joined, limit
from tlx.errors import InputError


def settle(found: Found, config: OwnData, seed: int) -> Source:
    """Take given splits as they are, and carve what is not given out of the rest, stratified and seeded.

    With ``train`` and ``val`` alone, ``val`` serves as the test set. Images of one group, and images that are equal
    byte for byte, are never parted: their like would be tested that was trained on. ``per_class`` and ``fraction``
    thin out the training images behind the test set, which is then the same for every one of them.

    Raises:
        InputError: Too few images, too few classes, a class that ``train`` lacks.
    """
    given, notes = dict(found.given), list(found.notes)
    train = given["train"]
    must_hold(found)
    parts = joined(train.digests, found.groups.get("train"))
    if "val" in given and "test" not in given:
        given["test"] = given.pop("val")
        notes.append("the validation images given serve as the test set")
    total = len(train.labels)
    if "test" not in given:
        kept, taken = carve(train.labels, parts, config.split[2], seed, "test", found.classes)
        given["test"] = choose(train, taken)
        train, parts = choose(train, kept), parts[kept]
        notes.append(f"{len(taken):,} images carved out as the test set")
    kept = limit(train.labels, config.per_class, config.fraction, seed)
    if len(kept) < len(train.labels):
        total = round(total * len(kept) / len(train.labels))
        train, parts = choose(train, kept), parts[kept]
    if "val" not in given:
        share = config.split[1] * total / len(train.labels)
        kept, taken = carve(train.labels, parts, share, seed, "val", found.classes)
        given["val"] = choose(train, taken)
        train = choose(train, kept)
        notes.append(f"{len(taken):,} training images carved out for validation")
    notes += _of_groups(found)
    if found.skipped:
        listed = ", ".join(f"{n} {ending or 'without ending'}" for ending, n in sorted(found.skipped.items()))
        notes.append(f"skipped files that are no images by their ending: {listed}")
    return Source(found.classes, train, given["val"], given["test"], tuple(notes), found.in_memory)


def _of_groups(found: Found) -> list[str]:
    """Tell how many groups there are, and how many of them given splits part."""
    if not found.groups:
        return []
    members = {split: set(np.unique(groups).tolist()) for split, groups in found.groups.items()}
    everything = set().union(*members.values())
    parted = sum(sum(group in one for one in members.values()) > 1 for group in everything)
    if parted:
        what = f"{parted:,} of {len(everything):,} groups lie in several of the given splits"
        return [f"{what}: what is measured is too good"]
    return [f"{len(everything):,} groups, none of them in two splits"]


def whole(found: Found, split: str) -> tuple[Images, tuple[str, ...]]:
    """Return the images to measure a finished network on: those given as ``split``, or all, where nothing is split.

    Returns:
        The images, and the names of their groups, if they have any.

    Raises:
        InputError: Other splits are given, but not this one.
    """
    source = {name: name for name in found.given}
    if "val" in source and "test" not in source:
        source["test"] = "val"
    if found.split and split not in source:
        raise InputError(f"{found.place} has no {split} images", f"split={' or '.join(source)}")
    name = source[split] if found.split else "train"
    groups = found.groups.get(name)
    return found.given[name], () if groups is None else tuple(found.group_names[code] for code in groups)


def must_hold(found: Found) -> None:
    """Refuse what cannot be learned from.

    Raises:
        InputError: One class only; a class without training images.
    """
    if len(found.classes) < 2:
        raise InputError(f"{found.place} has one class only: {', '.join(found.classes)}", "give at least two classes")
    counts = np.bincount(found.given["train"].labels, minlength=len(found.classes))
    if not counts.all():
        empty = found.classes[int(np.argmin(counts))]
        raise InputError(f"the class {empty!r} has no training images in {found.place}", "add images or remove it")
