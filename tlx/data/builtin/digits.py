"""Handwritten digits, few a class: scikit-learn's 8x8 scans, enlarged."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlx.data.builtin.drawn import SIZE, SPLITS, Drawn

_BORDER = 4  # pixels; the scans fill their frame to the edge, letters do not
_VAL_PER_CLASS = 30


def draw(seed: int, per_class: int = 20) -> Drawn:
    """Split the 1,797 scans: `per_class` to train on, 30 a class to validate, all the others to test.

    The validation and test images do not depend on `per_class` as long as it is at most 20.

    Raises:
        ValueError: when `per_class` leaves a class without test images.
    """
    from sklearn.datasets import load_digits  # half a second to import; only those who draw pay

    scans = load_digits()
    images, labels = _enlarge(scans.images), scans.target.astype(np.int64)
    fewest = int(np.bincount(labels).min())
    if not 1 <= per_class < fewest - _VAL_PER_CLASS:
        raise ValueError(f"per_class={per_class} is not between 1 and {fewest - _VAL_PER_CLASS - 1}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    order = rng.permutation(len(labels))
    parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}
    test_from = max(per_class, 20)
    for label in range(10):
        val, rest = np.split(order[labels[order] == label], [_VAL_PER_CLASS])
        parts["train"].append(rest[:per_class])
        parts["val"].append(val)
        parts["test"].append(rest[test_from:])
    # Round robin over the classes, as in the other sets, so that a prefix is balanced too.
    rows = {split: _interleave(chosen) for split, chosen in parts.items()}
    return Drawn(
        classes=tuple(str(digit) for digit in range(10)),
        images={split: images[index] for split, index in rows.items()},
        labels={split: labels[index] for split, index in rows.items()},
    )


def _enlarge(scans: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey levels 0..16 on 8x8 pixels, white on black, to uint8 (N, SIZE, SIZE, 3)."""
    inner = SIZE - 2 * _BORDER
    images = np.zeros((len(scans), SIZE, SIZE, 3), np.uint8)
    window = images[:, _BORDER : _BORDER + inner, _BORDER : _BORDER + inner]
    for image, scan in zip(window, np.rint(scans * (255 / 16)).astype(np.uint8), strict=True):
        image[:] = np.asarray(Image.fromarray(scan).resize((inner, inner), Image.Resampling.BICUBIC))[..., None]
    return images


def _interleave(classes: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """First of every class, second of every class, and so on."""
    rank = np.concatenate([np.arange(len(rows)) for rows in classes])
    return np.concatenate(classes)[np.argsort(rank, kind="stable")]
