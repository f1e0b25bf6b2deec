"""Sources: where labelled images come from, behind one small interface."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from tlx.data.decode import MAX_PIXELS, TooLargeError, decode
from tlx.errors import InputError, MachineError

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

    def read(self, index: int, side: int | None = None) -> Image.Image:
        """Decode to RGB; where ``side`` is given, as large as a short side of so many pixels needs, or larger."""


@dataclass(frozen=True)
class Source:
    """A data set: its classes in label order, its three splits, and what a person should know about them."""

    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images
    notes: tuple[str, ...] = field(default=())
    in_memory: bool = False

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

    def read(self, index: int, side: int | None = None) -> Image.Image:
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

    def read(self, index: int, side: int | None = None) -> Image.Image:
        """Decode a file (see decode.py).

        Raises:
            InputError: Names the file that cannot be decoded.
            MachineError: Names the file that cannot be read at all.
        """
        return self._open(index, lambda path: decode(path, side, self.max_pixels))

    def _open(self, index: int, how: Callable[[Path], T]) -> T:
        path = self.root / self.paths[index]
        with naming(str(path)):
            return how(path)


@contextmanager
def naming(image: str) -> Iterator[None]:
    """Say which image it is that is gone, closed, too large or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"the image {image} is gone", "leave data.root unchanged during a run") from None
    except PermissionError:
        raise MachineError(f"the image {image} may not be read", "change its permissions") from None
    except TooLargeError as error:
        raise InputError(f"the image {image} is too large: {error}", "remove it or raise the limit") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"the image {image} cannot be decoded ({error})", "remove it or replace it") from None


@dataclass(frozen=True)
class Chosen:
    """Some images of a split, by their indices there."""

    images: Images
    indices: np.ndarray

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

    @property
    def digests(self) -> np.ndarray:
        """The images' own hashes."""
        return self.images.digests[self.indices]

    def read(self, index: int, side: int | None = None) -> Image.Image:
        """Decode the image."""
        return self.images.read(int(self.indices[index]), side)


def choose(images: Images, indices: np.ndarray) -> Images:
    """Choose images of a split by their indices; a choice of a choice is one choice."""
    if isinstance(images, Chosen):
        return Chosen(images.images, images.indices[indices])
    return Chosen(images, indices)


def hashed(content: Callable[[int], bytes], count: int) -> np.ndarray:
    """Hash every image's content: (N,) of 32 bytes each. Reading and hashing let go of Python's lock."""
    hashes = np.empty(count, dtype="V32")

    def some(start: int) -> None:
        for index in range(start, min(start + 256, count)):
            hashes[index] = hashlib.sha256(content(index)).digest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(some, range(0, count, 256)):  # a task an image would be a gigabyte of tasks for a million
            pass
    return hashes


def fingerprint(images: Images) -> str:
    """Hash the labels and the content of a split, in order (sha256, hex). Names do not enter."""
    digest = hashlib.sha256()
    for label, content in zip(images.labels, images.digests, strict=True):
        digest.update(f"{label}:".encode() + content.tobytes())
    return digest.hexdigest()
