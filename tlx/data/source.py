"""Sources: where labelled images come from, behind one small interface."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from tlx.data.decode import MAX_PIXELS, decode
from tlx.data.fault import fault, head_of
from tlx.data.header import Header, read_header
from tlx.data.threads import in_threads

SPLITS = ("train", "val", "test")

T = TypeVar("T")


class Images(Protocol):
    """The labelled images of one split, addressed by index."""

    @property
    def labels(self) -> np.ndarray:
        """The labels (N,) int64."""

    def name(self, index: int) -> str:
        """Return a name that tells the image apart: a path, or where it was drawn."""

    def content(self, index: int) -> bytes:
        """Return the bytes that the image's identity is made of."""

    @property
    def digests(self) -> np.ndarray:
        """The hashes (sha256) of the contents: (N,) of 32 bytes each."""

    def header(self, index: int) -> Header:
        """Read what the image tells before it is decoded; raise what ``read`` does, of what shows by then."""

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Decode to RGB; the short side may be smaller than the image's own, but has ``least`` pixels if that has."""


@dataclass(frozen=True)
class Source:
    """A data set: its classes in label order, its three splits, and what a person should know about them.

    ``facts`` is what ``data.json`` holds (see facts.py).
    """

    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images
    notes: tuple[str, ...] = field(default=())
    in_memory: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()  # of every test image, where they were given and are only measured

    def split(self, name: str) -> Images:
        """Return a split by name."""
        images: Images = getattr(self, name)
        return images


@dataclass(frozen=True)
class ArrayImages:
    """Images (N, H, W, 3) or grey (N, H, W), uint8, in memory."""

    origin: str
    images: np.ndarray
    labels: np.ndarray

    def name(self, index: int) -> str:
        """Return ``origin/index``."""
        return f"{self.origin}/{index}"

    def content(self, index: int) -> bytes:
        """Return the pixels."""
        return self.images[index].tobytes()

    @cached_property
    def digests(self) -> np.ndarray:
        """The hashes of the pixels."""
        return hashed(self.content, len(self.labels))

    def header(self, index: int) -> Header:
        """Tell the shape of the pixels."""
        height, width = self.images.shape[1:3]
        return Header(self.images[index].nbytes, width, height, "RGB")

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Wrap the pixels."""
        image = Image.fromarray(self.images[index])
        return image if image.mode == "RGB" else image.convert("RGB")


@dataclass(frozen=True)
class FileImages:
    """Image files below a root."""

    root: Path
    paths: Sequence[str]  # relative to root
    labels: np.ndarray
    max_pixels: int = MAX_PIXELS

    def name(self, index: int) -> str:
        """Return the path relative to the root."""
        return self.paths[index]

    def content(self, index: int) -> bytes:
        """Return the file's bytes."""
        return self._open(index, lambda path: path.read_bytes())

    @cached_property
    def digests(self) -> np.ndarray:
        """The hashes of the files' bytes."""
        return hashed(self.content, len(self.labels))

    def header(self, index: int) -> Header:
        """Read a file's header (see header.py).

        Raises:
            BadImageError, UnreadableImageError: Name the file.
        """
        return self._open(index, lambda path: read_header(path, self.max_pixels))

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Decode a file (see decode.py).

        Raises:
            BadImageError: Names the file that cannot be decoded.
            UnreadableImageError: Names the file that may not be read.
        """
        return self._open(index, lambda path: decode(path, least, self.max_pixels))

    def _open(self, index: int, how: Callable[[Path], T]) -> T:
        path = self.root / self.paths[index]
        with naming(str(path), lambda: head_of(path)):
            return how(path)


@contextmanager
def naming(image: str, head: Callable[[], bytes | None] = lambda: None) -> Iterator[None]:
    """Say which image it is that is gone, closed, too large or damaged; ``head`` reads its first bytes."""
    try:
        yield
    except (OSError, ValueError, SyntaxError) as error:
        raise fault(image, error, head()) from None


@dataclass(frozen=True)
class Chosen:
    """Some images of a split, by their indices there.

    ``alone``: the others cannot be read, so that nothing may be asked of the split as a whole.
    """

    images: Images
    indices: np.ndarray
    alone: bool = False

    @property
    def labels(self) -> np.ndarray:
        """The labels."""
        return self.images.labels[self.indices]

    def name(self, index: int) -> str:
        """Return the image's own name."""
        return self.images.name(int(self.indices[index]))

    def content(self, index: int) -> bytes:
        """Return the image's own bytes."""
        return self.images.content(int(self.indices[index]))

    @cached_property
    def digests(self) -> np.ndarray:
        """The images' own hashes."""
        return hashed(self.content, len(self.indices)) if self.alone else self.images.digests[self.indices]

    def header(self, index: int) -> Header:
        """Read the image's header."""
        return self.images.header(int(self.indices[index]))

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Decode the image."""
        return self.images.read(int(self.indices[index]), least)


def choose(images: Images, indices: np.ndarray) -> Images:
    """Choose images of a split by their indices; a choice of a choice is one choice."""
    if isinstance(images, Chosen) and not images.alone:
        return Chosen(images.images, images.indices[indices])
    return Chosen(images, indices)


def leave_out(images: Images, bad: np.ndarray) -> Images:
    """Leave out the images that a mask (N,) marks as bad; nothing is asked of them again."""
    return Chosen(images, np.flatnonzero(~bad), alone=True) if bad.any() else images


def hashed(content: Callable[[int], bytes], count: int) -> np.ndarray:
    """Hash every image's content: (N,) of 32 bytes each."""
    hashes = np.empty(count, dtype="V32")
    for index, digest in enumerate(in_threads(lambda index: hashlib.sha256(content(index)).digest(), count)):
        hashes[index] = digest
    return hashes


def fingerprint(images: Images) -> str:
    """Hash the labels and the content of a split, in order (sha256, hex). Names do not enter."""
    digest = hashlib.sha256()
    for label, content in zip(images.labels, images.digests, strict=True):
        digest.update(f"{label}:".encode() + content.tobytes())
    return digest.hexdigest()
