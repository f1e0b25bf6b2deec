"""Faults: what may be wrong with an image, each with a word for it, and the error that names it."""

from __future__ import annotations

import errno
from pathlib import Path

from PIL import UnidentifiedImageError

from tlx.data.decode import TooLargeError
from tlx.errors import InputError, MachineError, TlxError

GONE, UNREADABLE, EMPTY, FOREIGN, LARGE, BROKEN = REASONS = (
    "gone", "unreadable", "empty", "no image", "too large", "broken"
)  # fmt: skip
MEND = "remove it or replace it; data.on_bad=skip leaves such images out, data.scan=full finds them before training"
# What files that are no images begin with: a page in place of an image is what a failed download leaves.
BEGINNINGS = (
    (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "XML"), (b"<svg", "SVG"),
    (b"version https://git-lfs", "a Git LFS pointer"), (b"%pdf", "a PDF"), (b"%!ps", "PostScript"),
    (b"pk\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"), (b"{", "JSON"),
)  # fmt: skip
HEAD = 64  # bytes that tell them


class BadImageError(InputError):
    """An image that cannot be read. ``reason`` is one of ``REASONS``, ``detail`` says more of it."""

    def __init__(self, what: str, mend: str = "", reason: str = BROKEN, detail: str = "") -> None:
        super().__init__(what, mend)
        self.reason = reason
        self.detail = detail


class UnreadableImageError(MachineError):
    """An image that this user may not read."""

    reason = UNREADABLE
    detail = "permission denied"


def fault(name: str, error: Exception, head: bytes | None = None) -> TlxError:
    """Turn what went wrong with an image into the error that names it.

    Args:
        name: What messages call the image by.
        error: What opening or decoding it raised.
        head: The image's first bytes, at most ``HEAD``; None where they cannot be read.
    """
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) == errno.ELOOP:
        detail = "no such file, or a link that leads nowhere"
        return BadImageError(f"the image {name} is gone", "leave data.root unchanged during a run", GONE, detail)
    if isinstance(error, PermissionError):
        return UnreadableImageError(f"the image {name} may not be read", "change its permissions")
    if isinstance(error, TooLargeError):
        mend = "remove it, raise the limit, or leave such images out: data.on_bad=skip"
        return BadImageError(f"the image {name} is too large: {error}", mend, LARGE, str(error))
    reason, detail = _content(error, head)
    told = f"{reason}: {detail}" if detail else reason
    return BadImageError(f"the image {name} cannot be decoded ({told})", MEND, reason, detail)


def head_of(path: Path) -> bytes | None:
    """Read a file's first bytes, if that can be done."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return None


def _content(error: Exception, head: bytes | None) -> tuple[str, str]:
    if head == b"":
        return EMPTY, "zero bytes"
    if not isinstance(error, UnidentifiedImageError):
        return BROKEN, " ".join(str(error).split()) or type(error).__name__
    begin = (head or b"").removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    known = next((what for beginning, what in BEGINNINGS if begin.startswith(beginning)), None)
    return FOREIGN, known or "not a format that is read"
