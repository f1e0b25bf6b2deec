"""Facts: what ``data.json`` holds of a run's images, as plain data; see docs/scan.md for its keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlx.data.fault import REASONS
from tlx.data.found import Found
from tlx.data.scan.alike import Alike
from tlx.data.scan.remarks import TINY, Facts, notes, unbalanced, warnings
from tlx.data.scan.scan import SHOWN, Scan
from tlx.data.source import SPLITS, Images, Source

FORMAT = 1
LISTED = 1000  # pairs of images that are alike: to go through, of however many there are
ACROSS = ("across_splits", "across_labels")


def describe(found: Found, scan: Scan) -> Facts:
    """Describe what was found, before it is split."""
    facts = {
        "format": FORMAT,
        "place": found.place,
        "classes": list(found.classes),
        "scan": "full" if scan.pixels else "headers",
        "images": len(scan.images),
        "given": counts(scan.images.given, found.classes),
        **_headers(scan),
        "bad": _bad(scan),
        "bad_by_reason": scan.reasons(),
        "left_out": int(scan.bad.mask.sum()) if scan.skips else 0,
        "skipped": dict(sorted(found.skipped.items())),
        "hidden": found.hidden,
        "unfollowed_links": found.unfollowed,
        "constant": _marked(scan, scan.pixels.constant) if scan.pixels else None,
        "duplicates": _equal(scan),
        "near_duplicates": _near(scan),
    }
    return {**facts, "notes": notes(facts), "warnings": warnings(facts)}


def used(source: Source, balance: str, facts: Facts | None = None) -> Facts:
    """Complete the facts by what the run uses: its splits, and how far the training images are out of balance."""
    splits = counts({split: source.split(split) for split in SPLITS}, source.classes)
    facts = {"format": FORMAT, "classes": list(source.classes), "scan": None, "left_out": 0, **(facts or {})}
    facts |= {"splits": splits, "imbalance": _imbalance(splits["train"]), "notes": list(source.notes)}
    return {**facts, "warnings": [*facts.get("warnings", ()), *unbalanced(facts, balance)]}


def counts(splits: dict[str, Images], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the images by split and class."""
    found = {split: np.bincount(images.labels, minlength=len(classes)) for split, images in splits.items()}
    return {split: dict(zip(classes, numbers.tolist(), strict=True)) for split, numbers in found.items()}


def _headers(scan: Scan) -> Facts:
    headers, good = scan.headers, scan.good
    modes = np.bincount(headers.mode[good], minlength=len(headers.modes)).tolist()
    tiny = np.minimum(headers.width, headers.height) < TINY
    return {
        "bytes": _spread(headers.size[good]),
        "width": _spread(headers.width[good]),
        "height": _spread(headers.height[good]),
        "modes": {mode: count for mode, count in zip(headers.modes, modes, strict=True) if count},
        "animated": _marked(scan, headers.animated),
        "turned_by_exif": int(headers.turned[good].sum()),
        "tiny": _marked(scan, tiny),
    }


def _spread(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}


def _marked(scan: Scan, mask: np.ndarray) -> Facts:
    """Count the good images that a mask (N,) marks, and name the first few."""
    marked = np.flatnonzero(mask & ~scan.bad.mask)
    return {"images": len(marked), "examples": [scan.images.name(int(index)) for index in marked[:SHOWN]]}


def _bad(scan: Scan) -> list[dict[str, str]]:
    images, bad = scan.images, np.flatnonzero(scan.bad.mask)
    return [
        {
            "image": images.name(index),
            "split": images.split_of(index),
            "class": scan.classes[images.labels[index]],
            "reason": REASONS[scan.bad.reason[index]],
            "detail": scan.bad.detail[index],
        }
        for index in bad.tolist()
    ]


def _near(scan: Scan) -> Facts | None:
    """Describe what looks alike and is not equal: what is equal stands under ``duplicates``."""
    if scan.likes is None or scan.copies is None:
        return None
    return {key: _strange(scan, key, scan.likes, scan.various, scan.copies) for key in ACROSS}


def _equal(scan: Scan) -> Facts | None:
    if scan.copies is None:
        return None
    node, splits = scan.copies.node, scan.images.splits[scan.good]
    within = [int((splits == k).sum() - len(np.unique(node[splits == k]))) for k in range(len(scan.images.given))]
    found = {key: _strange(scan, key, scan.copies, scan.good) for key in ACROSS}
    return {**found, "within_splits": dict(zip(scan.images.given, within, strict=True))}


def _strange(scan: Scan, key: str, alike: Alike, indices: np.ndarray, known: Alike | None = None) -> Facts:
    """Describe what is alike and should not be; ``indices`` are those, of N, that ``alike`` is about."""
    images = scan.images
    own = (images.splits if key == ACROSS[0] else images.labels).astype(np.int64)
    mask = np.zeros(len(images), dtype=bool)
    mask[indices] = alike.strangers(own[indices])
    if known is not None:
        mask[scan.good] &= ~known.strangers(own[scan.good])
    by_split = np.bincount(images.splits[mask], minlength=len(images.given)).tolist()
    pairs: dict[tuple[int, int], None] = {}  # each once, in order
    for place in np.flatnonzero(mask[indices]).tolist():
        if len(pairs) == LISTED:
            break
        partner = alike.partner(place, own[indices])
        pairs[min(place, partner), max(place, partner)] = None
    return {
        "images": int(mask.sum()),
        "by_split": {split: count for split, count in zip(images.given, by_split, strict=True) if count},
        "examples": [[images.name(int(indices[place])) for place in pair] for pair in pairs],
    }


def _imbalance(train: dict[str, int]) -> Facts:
    """Compare the largest class with the smallest that has any image."""
    names = [name for name, count in train.items() if count]
    largest, smallest = max(names, key=lambda name: train[name]), min(names, key=lambda name: train[name])
    return {"largest": largest, "smallest": smallest, "ratio": round(train[largest] / train[smallest], 2)}
