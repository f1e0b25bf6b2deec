"""Handed: images that a program hands over: paths, Pillow's images, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from tlx.data.attempts import Readable
from tlx.data.decode import MAX_PIXELS, as_seen
from tlx.data.own.unlabelled import Unlabelled, open_unlabelled
from tlx.errors import InputError


class Named(Readable, Protocol):
    """Images that have names."""

    def name(self, index: int) -> str:
        """Return what an image is called by."""


class Handed:
    """Some images, of one or several kinds."""

    def __init__(self, images: Sequence[Any]) -> None:
        self.images = [_checked(image, index) for index, image in enumerate(images)]
        paths = [str(image) if isinstance(image, Path) else "" for image in self.images]
        self.files = Unlabelled(Path(), paths, paths, MAX_PIXELS)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """Return a path, or the image's number."""
        return self.files.name(index) or str(index)

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Return an image as a person sees it, in RGB (see decode.py)."""
        image = self.images[index]
        if isinstance(image, Path):
            return self.files.read(index, least)
        return as_seen(Image.fromarray(image) if isinstance(image, np.ndarray) else image)


def handed(images: Any) -> Named:
    """Take over one image or several; one path may also be a folder, a pattern or a table.

    Raises:
        InputError: What is no image; a path that does not exist.
    """
    if isinstance(images, str | Path):
        return open_unlabelled(str(images), "image", None, "inside", MAX_PIXELS)
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        return Handed([images])
    return Handed(list(images))


def _checked(image: Any, index: int) -> Path | Image.Image | np.ndarray:
    if isinstance(image, str | Path):
        return Path(image).expanduser()
    if isinstance(image, Image.Image):
        return image
    if not isinstance(image, np.ndarray):
        what = f"image {index} is a {type(image).__name__}"
        raise InputError(what, "give paths, Pillow images, or arrays (H, W, 3) uint8")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        what = f"image {index} is an array {image.shape} of {image.dtype}"
        raise InputError(what, "give arrays (H, W, 3) uint8, 0 to 255, in the order red, green, blue")
    return image
