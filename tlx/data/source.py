"""Sources: where labelled images come from, behind one small interface."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image, ImageOps

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

    def read(self, index: int) -> Image.Image:
        """Decode to RGB."""


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
    """Images (N, H, W, 3) uint8 in memory."""

    origin: str
    images: np.ndarray
    labels: np.ndarray

    def name(self, index: int) -> str:
        """Return ``origin/index``."""
        return f"{self.origin}/{index}"

    def content(self, index: int) -> bytes:
        """Return the pixels."""
        return self.images[index].tobytes()

    def read(self, index: int) -> Image.Image:
        """Wrap the pixels."""
        return Image.fromarray(self.images[index])


@dataclass(frozen=True)
class FileImages:
    """Image files below a root."""

    root: Path
    paths: tuple[str, ...]  # relative to root
    labels: np.ndarray

    def name(self, index: int) -> str:
        """Return the path relative to the root."""
        return self.paths[index]

    def content(self, index: int) -> bytes:
        """Return the file's bytes."""
        return self._open(index, lambda path: path.read_bytes())

    def read(self, index: int) -> Image.Image:
        """Decode, turn as EXIF says, and convert to RGB.

        Raises:
            InputError: Names the file that cannot be decoded.
            MachineError: Names the file that cannot be read at all.
        """
        return self._open(index, _decode)

    def _open(self, index: int, how: Callable[[Path], T]) -> T:
        path = self.root / self.paths[index]
        try:
            return how(path)
        except FileNotFoundError:
            raise InputError(f"the image {path} is gone", "leave data.root unchanged during a run") from None
        except PermissionError:
            raise MachineError(f"the image {path} may not be read", "change its permissions") from None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"the image {path} cannot be decoded ({error})", "remove it or replace it") from None


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

    def read(self, index: int) -> Image.Image:
        """Decode the image."""
        return self.images.read(int(self.indices[index]))


def _decode(path: Path) -> Image.Image:
    with Image.open(path) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255, not scale them
            return Image.fromarray((np.asarray(turned) // 257).astype(np.uint8)).convert("RGB")
        if turned.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {turned.mode} have no scale of their own: convert them to 8 or 16 bits")
        if "transparency" in turned.info:
            turned = turned.convert("RGBA")  # on the way, or Pillow warns
        return turned.convert("RGB")


def fingerprint(images: Images) -> str:
    """Hash the labels and the content of a split, in order (sha256, hex). Names do not enter."""
    digest = hashlib.sha256()
    for index, label in enumerate(images.labels):
        digest.update(f"{label}:".encode() + hashlib.sha256(images.content(index)).digest())
    return digest.hexdigest()
