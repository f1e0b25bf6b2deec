"""Header: what an image file tells before any pixel is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tlx.data.decode import MAX_PIXELS, SIDEWAYS, UPRIGHT, declared, open_image, orientation

PAGES = frozenset({"MPO"})  # several views of one moment, which is no animation


class Header(NamedTuple):
    """An image before it is decoded: its bytes, its size in pixels as a person sees it, and how it is stored."""

    size: int
    width: int
    height: int
    mode: str
    animated: bool = False  # it has more frames than the first, which is taken
    turned: bool = False  # its EXIF data says to turn or flip it, which is done


@declared()
def read_header(file: Path | bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Read an image's header: a path, or a file's bytes.

    Raises:
        OSError, ValueError, SyntaxError: No image that is read.
        TooLargeError: More than ``max_pixels``.
    """
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    with open_image(file, max_pixels) as image:
        turn = orientation(image)
        sideways = turn >= SIDEWAYS and image.format != "TIFF"  # whose size Pillow tells as it will be
        width, height = image.size[::-1] if sideways else image.size
        animated = image.format not in PAGES and bool(getattr(image, "is_animated", False))
        return Header(size, width, height, image.mode, animated, turn != UPRIGHT)
