"""Scan: what is wrong with a person's own images, found before anything trains on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tlx.config.groups import OwnData
from tlx.data.fault import REASONS
from tlx.data.found import Found
from tlx.data.scan.alike import Alike, equal, near
from tlx.data.scan.looks import Bad, Headers, Pixels, Progress, look_at_headers, look_at_pixels
from tlx.data.scan.together import Together
from tlx.errors import InputError

SHOWN = 5  # of a list, in a message


@dataclass(frozen=True)
class Scan:
    """What was found of N images, in arrays.

    ``pixels`` is None where headers alone were read. ``copies`` compares the images that are not bad by content,
    ``likes`` those of them that have more than one colour by their looks; None where it was not done.
    """

    images: Together
    classes: tuple[str, ...]
    skips: bool  # bad images are left out
    headers: Headers
    bad: Bad
    pixels: Pixels | None = None
    copies: Alike | None = None
    likes: Alike | None = None

    @property
    def good(self) -> np.ndarray:
        """The indices of the images that are not bad, which ``copies`` is about."""
        return np.flatnonzero(~self.bad.mask)

    @property
    def various(self) -> np.ndarray:
        """The indices of those of more than one colour, which ``likes`` is about: all black looks alike."""
        assert self.pixels is not None
        return np.flatnonzero(~(self.bad.mask | self.pixels.constant))

    def reasons(self) -> dict[str, int]:
        """Count the bad images by what is wrong with them."""
        counts = np.bincount(self.bad.reason[self.bad.mask], minlength=len(REASONS))
        return {reason: int(count) for reason, count in zip(REASONS, counts, strict=True) if count}

    def must_be_good(self) -> None:
        """Refuse bad images, where they are not left out, and a class of which none is left.

        Raises:
            InputError: Counts them, and names the first few with what is wrong.
        """
        bad = np.flatnonzero(self.bad.mask)
        if not self.skips and len(bad):
            what = f"{len(bad):,} of {len(self.images):,} images cannot be used: {self._named(bad)}"
            more = "" if self.pixels else "; only headers were read, data.scan=full looks at every pixel"
            raise InputError(what, f"mend or remove them, or leave them out: data.on_bad=skip{more}")
        for split, counts in self.images.parted(self.bad.mask).items():
            labels = self.images.given[split].labels
            for label in np.setdiff1d(labels, labels[~counts]):
                mine = bad[(self.images.labels[bad] == label) & (self.images.splits[bad] == self._number(split))]
                what = f"no image of the class {self.classes[label]!r} in {split} can be used: {self._named(mine)}"
                raise InputError(what, "add images, or remove the class")

    def _number(self, split: str) -> int:
        return list(self.images.given).index(split)

    def _named(self, bad: np.ndarray) -> str:
        told = [f"{self.images.name(int(index))} ({self.fault(int(index))})" for index in bad[:SHOWN]]
        return ", ".join(told) + (f", and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else "")

    def fault(self, index: int) -> str:
        """Say what is wrong with a bad image."""
        return f"{REASONS[self.bad.reason[index]]}: {self.bad.detail[index]}"


def scan(found: Found, config: OwnData, progress: Progress = lambda done, count: None) -> tuple[Found, Scan]:
    """Look at all images of a source; return it without the bad ones, where they are to be left out, and what was seen.

    Headers always; pixels with ``scan=full``, and with ``on_bad=skip``, for what is to be left out must be known
    before anything is split. Nothing is compared where bad images will end the run.
    """
    images = Together(found.given)
    headers, bad = look_at_headers(images, progress)
    full = config.scan == "full" or config.on_bad == "skip"
    pixels = look_at_pixels(images, bad, progress) if full else None
    seen = Scan(images, found.classes, config.on_bad == "skip", headers, bad, pixels)
    if bad.mask.any():
        if not seen.skips:
            return found, seen
        found = _without(found, images, bad.mask)
    copies = equal(Together(found.given).digests)
    likes = near(pixels.hashes[seen.various]) if pixels else None
    return found, replace(seen, copies=copies, likes=likes)


def _without(found: Found, images: Together, bad: np.ndarray) -> Found:
    masks = images.parted(bad)
    groups = {split: members[~masks[split]] for split, members in found.groups.items()}
    return replace(found, given=images.without(bad), groups=groups)
