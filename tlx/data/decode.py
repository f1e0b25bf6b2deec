"""Decode: any image file becomes RGB of eight bits, as a person sees it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tlx.errors import TlxError

MAX_PIXELS = 100_000_000
# What is read, whatever a file is called. Pillow knows more; one of them (EPS) runs a program on what it is given.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF", "JPEG2000", "AVIF")
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT, SIDEWAYS = 1, 5  # its values: as stored; from here on, width and height change places
TURNS = dict(
    enumerate(
        (
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.ROTATE_180,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.ROTATE_270,
            Image.Transpose.TRANSVERSE,
            Image.Transpose.ROTATE_90,
        ),
        2,
    )
)  # what makes of each of its other values a picture as a person sees it
_pillows_limit = threading.Lock()


def pixels(megapixels: float) -> int:
    """Turn a limit in megapixels to one in pixels."""
    return round(megapixels * 1e6)


class TooLargeError(ValueError):
    """An image of more pixels than are allowed."""


@contextmanager
def declared() -> Iterator[None]:
    """Turn whatever damaged data makes of Pillow's readers into one of the errors that they are said to raise."""
    try:
        yield
    except (OSError, ValueError, SyntaxError, MemoryError, TlxError):  # the last: a signal
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


@declared()
def decode(file: Path | bytes, least: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the first frame, turn it as EXIF says, and convert it to RGB.

    Sixteen bits are scaled to eight. Numbers without a scale of their own (float, 32 bits) are read as shares of one,
    as 0 to 255, or as 0 to 65,535, whichever is the first that holds all of them. What is transparent shows white.

    Args:
        file: A path, or a file's bytes.
        least: How many pixels the short side must have: a JPEG file is decoded at the smallest of the scales
            1, 1/2, 1/4, 1/8 at which it has them. None: at full size.
        max_pixels: More of them are refused before any is decoded.

    Raises:
        OSError, ValueError, SyntaxError: What Pillow cannot decode.
        TooLargeError: More than ``max_pixels``.
    """
    with open_image(file, max_pixels) as image:
        if least is not None and min(image.size) >= 2 * least:
            share = least / min(image.size)
            image.draft(None, (int(image.width * share), int(image.height * share)))
        return as_seen(image)


@declared()
def open_image(file: Path | bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image, reading its header only.

    Raises:
        OSError, ValueError, SyntaxError: No image of one of ``FORMATS``.
        TooLargeError: More than ``max_pixels``.
    """
    stream = BytesIO(file) if isinstance(file, bytes) else file
    with warnings.catch_warnings(), _pillows_limit:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours holds instead
        try:
            image = Image.open(stream, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    if (pixels := image.width * image.height) > max_pixels:
        image.close()
        told = f"{round(pixels / 1e6, 2):,g} megapixels"
        raise TooLargeError(f"{told} are more than data.max_megapixels={max_pixels / 1e6:g}")
    return image


def as_seen(image: Image.Image) -> Image.Image:
    """Turn an image as EXIF says, and convert it to RGB (see ``decode``)."""
    image.load()  # in some formats, what EXIF says stands behind the pixels
    turn = TURNS.get(orientation(image))
    seen = _rgb(image if turn is None else image.transpose(turn))
    seen.info = {}  # nobody shall turn it again
    return seen


def orientation(image: Image.Image) -> int:
    """Return what EXIF says of an image's orientation; upright, where that is damaged or nothing."""
    try:
        value = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:  # damaged EXIF data fails in many ways; whether the pixels decode is another question
        return UPRIGHT
    return value if isinstance(value, int) and UPRIGHT <= value <= 8 else UPRIGHT


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255, not scale them
        return _grey(np.asarray(image) / 65535)
    if image.mode in ("I", "F"):
        return _grey(_shares(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _shares(values: np.ndarray) -> np.ndarray:
    low, high = float(np.min(values)), float(np.max(values))
    limits = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    scale = next((limit for limit in limits if high <= limit), None)
    if not low >= 0 or scale is None:  # a NaN is not >= 0
        raise ValueError(f"pixels from {low:g} to {high:g} have no scale of their own: convert them to 8 or 16 bits")
    return values / scale


def _grey(shares: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(shares * 255).astype(np.uint8)).convert("RGB")
