"""Looks: what is found by looking at every image: at its header, or at its pixels as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tlx.data.fault import BROKEN, REASONS
from tlx.data.header import Header
from tlx.data.scan.together import Together
from tlx.data.threads import in_threads
from tlx.errors import InputError, MachineError

Progress = Callable[[int, int], None]  # how many images are done, and of how many
SIDE = 64  # twice the pixels that a perceptual hash looks at; files are decoded no larger than that needs
OFTEN = 256  # images between two reports of progress
GOOD = -1


@dataclass(frozen=True)
class Bad:
    """Which of N images cannot be read: ``reason`` (N,) is a place in ``REASONS``, or ``GOOD``; details by index."""

    reason: np.ndarray
    detail: dict[int, str] = field(default_factory=dict)

    @property
    def mask(self) -> np.ndarray:
        """Which images are bad (N,)."""
        return self.reason != GOOD

    def add(self, index: int, error: InputError | MachineError) -> None:
        """Note what is wrong with an image."""
        self.reason[index] = REASONS.index(getattr(error, "reason", BROKEN))
        self.detail[index] = getattr(error, "detail", error.what)


@dataclass(frozen=True)
class Headers:
    """The headers of N images as arrays (N,); of bad images they hold zeros. ``mode`` is a place in ``modes``."""

    size: np.ndarray
    width: np.ndarray
    height: np.ndarray
    mode: np.ndarray
    animated: np.ndarray
    turned: np.ndarray
    modes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pixels:
    """What the pixels of N images tell: ``constant`` (N,) marks one colour, ``hashes`` (N, 2) are uint64.

    The hashes are perceptual: by frequencies (phash) and by differences of neighbours (dhash). Images that look alike
    have hashes of few different bits.
    """

    constant: np.ndarray
    hashes: np.ndarray


def look_at_headers(images: Together, progress: Progress) -> tuple[Headers, Bad]:
    """Read every header. In one thread: Pillow opens files under Python's lock, and more threads only wait for it."""
    count = len(images)
    kinds = {
        "size": np.int64,
        "width": np.int32,
        "height": np.int32,
        "mode": np.int16,
        "animated": bool,
        "turned": bool,
    }
    arrays = {name: np.zeros(count, kind) for name, kind in kinds.items()}
    bad, modes = Bad(np.full(count, GOOD, np.int8)), dict[str, int]()
    for index in range(count):
        split, place = images.at(index)
        try:
            header = split.header(place)
        except (InputError, MachineError) as error:
            bad.add(index, error)
        else:
            _fill(arrays, index, header, modes.setdefault(header.mode, len(modes)))
        _tell(progress, index + 1, count)
    return Headers(**arrays, modes=list(modes)), bad


def _fill(arrays: dict[str, np.ndarray], index: int, header: Header, mode: int) -> None:
    for name, values in arrays.items():
        values[index] = mode if name == "mode" else getattr(header, name)


def look_at_pixels(images: Together, bad: Bad, progress: Progress) -> Pixels:
    """Decode every image that is not bad by its header; those that cannot be decoded are added to ``bad``."""
    count = len(images)
    constant, hashes = np.zeros(count, bool), np.zeros((count, 2), np.uint64)
    skip = bad.mask

    def look(index: int) -> tuple[bool, tuple[int, int]] | InputError | MachineError | None:
        if skip[index]:
            return None
        split, place = images.at(index)
        try:
            return _look(lambda side: split.read(place, side))
        except (InputError, MachineError) as error:
            return error

    for index, seen in enumerate(in_threads(look, count)):
        if isinstance(seen, InputError | MachineError):
            bad.add(index, seen)
        elif seen is not None:
            constant[index], hashes[index] = seen
        _tell(progress, index + 1, count)
    return Pixels(constant, hashes)


def _look(read: Callable[[int | None], Image.Image]) -> tuple[bool, tuple[int, int]]:
    import imagehash  # which brings scipy's transforms: not for a scan of headers

    image = read(SIDE)
    constant = _constant(image) and _constant(read(None))  # at reduced scale, a fine pattern is one colour as well
    return constant, (_number(imagehash.phash(image).hash), _number(imagehash.dhash(image).hash))


def _constant(image: Image.Image) -> bool:
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]


def _number(bits: np.ndarray) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _tell(progress: Progress, done: int, count: int) -> None:
    if done % OFTEN == 0 or done == count:
        progress(done, count)
