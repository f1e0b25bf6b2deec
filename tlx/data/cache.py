"""Cache: decoded images, kept for the next epochs in memory or on disk."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL
from PIL import Image

from tlx import caches
from tlx.data.header import Header
from tlx.data.source import Images
from tlx.errors import InputError, MachineError

VERSION = 1  # part of a file's name: another layout is another file
ASPECT = 3  # longer images are not kept, so that every image has a slot of the same size
HEADER = struct.Struct("<III")  # width, height, checksum; a width of 0: nothing there
CHUNK = 256  # slots that are asked of the system at once
SHARE = 0.8  # of the memory that is free, at most


class Slots(Protocol):
    """Bytes by index. Many processes may read and write at once: they write the same."""

    def read(self, index: int) -> bytes:
        """Return what was written, or fewer bytes."""

    def write(self, index: int, content: bytes) -> None:
        """Keep at most as many bytes as a slot has."""


@dataclass(frozen=True)
class Size:
    """How large images are kept: read with ``least`` pixels at the short side, and resized to ``side`` of them."""

    side: int
    least: int
    mode: Image.Resampling


class Cached:
    """A split whose images are kept as they come out of a first decoding, reduced to a short side of a given size.

    Asked for another size than that which is read for it, an image is decoded anew. An entry that is torn or altered
    does not match its checksum, and is decoded anew as well.
    """

    def __init__(self, images: Images, size: Size, slots: Slots) -> None:
        self.images = images
        self.size = size
        self.slots = slots
        self.labels = images.labels

    @property
    def digests(self) -> np.ndarray:
        """The images' own hashes."""
        return self.images.digests

    def name(self, index: int) -> str:
        """Return the image's own name."""
        return self.images.name(index)

    def content(self, index: int) -> bytes:
        """Return the image's own bytes."""
        return self.images.content(index)

    def header(self, index: int) -> Header:
        """Read the image's own header."""
        return self.images.header(index)

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Return the kept image, or decode it and keep it."""
        if least != self.size.least:
            return self.images.read(index, least)
        if (kept := self._kept(index)) is not None:
            return kept
        image = reduced(self.images.read(index, least), self.size)
        if max(image.size) <= ASPECT * self.size.side:
            pixels = image.tobytes()
            self.slots.write(index, HEADER.pack(*image.size, zlib.crc32(pixels)) + pixels)
        return image

    def _kept(self, index: int) -> Image.Image | None:
        content = self.slots.read(index)
        if len(content) < HEADER.size:
            return None
        width, height, checksum = HEADER.unpack_from(content)
        pixels = content[HEADER.size : HEADER.size + 3 * width * height]
        if not width or len(pixels) < 3 * width * height or zlib.crc32(pixels) != checksum:
            return None
        return Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)


def reduced(image: Image.Image, size: Size) -> Image.Image:
    """Resize the short side, as torchvision's Resize does; a smaller image stays as it is."""
    short, long = sorted(image.size)
    if short <= size.side:
        return image
    other = int(size.side * long / short)
    wanted = (size.side, other) if image.width <= image.height else (other, size.side)
    return image.resize(wanted, size.mode)


@dataclass
class MemorySlots:
    """Slots in memory that forked processes share; only what is written to takes room."""

    size: int
    count: int

    def __post_init__(self) -> None:
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
        counts = [min(CHUNK, self.count - first) for first in range(0, self.count, CHUNK)]
        self.chunks = [mmap.mmap(-1, self.size * count, flags) for count in counts]

    def __getstate__(self) -> dict[str, Any]:
        """A process that is not forked has memory of its own."""
        return {"size": self.size, "count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def read(self, index: int) -> bytes:
        """Copy a slot as far as its header says."""
        chunk, first = self.chunks[index // CHUNK], index % CHUNK * self.size
        width, height, _ = HEADER.unpack_from(chunk, first)
        return chunk[first : first + HEADER.size + 3 * width * height] if width else b""

    def write(self, index: int, content: bytes) -> None:
        """Write pixels first, then the header: who finds a header finds the pixels."""
        chunk, first = self.chunks[index // CHUNK], index % CHUNK * self.size
        chunk[first + HEADER.size : first + len(content)] = content[HEADER.size :]
        chunk[first : first + HEADER.size] = content[: HEADER.size]


@dataclass
class FileSlots:
    """Slots in a sparse file: only what is written to takes room.

    Read and written at positions, never mapped: a full disk is then an error and not the end of the process.
    """

    path: Path
    size: int

    def __post_init__(self) -> None:
        try:
            caches.make(self.path.parent)
            self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self.path, error) from None

    def __getstate__(self) -> dict[str, Any]:
        """A process that is not forked opens the file itself."""
        return {"path": self.path, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    def read(self, index: int) -> bytes:
        """Read a slot as far as its header says."""
        header = os.pread(self.file, HEADER.size, index * self.size)
        if len(header) < HEADER.size or not (width := HEADER.unpack(header)[0]):
            return b""
        count = min(3 * width * HEADER.unpack(header)[1], self.size - HEADER.size)
        return header + os.pread(self.file, count, index * self.size + HEADER.size)

    def write(self, index: int, content: bytes) -> None:
        """Write a slot at once.

        Raises:
            MachineError: The disk is full.
        """
        try:
            os.pwrite(self.file, content, index * self.size)
        except OSError as error:
            raise _unusable(self.path, error) from None


def cached(images: Images, kind: str, folder: Path, size: Size) -> Images:
    """Keep a split's decoded images: ``kind`` "ram", "disk" (below ``folder``) or "none".

    What is on disk is found again by what it is made of: the bytes of the images, their order, the size, and how they
    are resized.

    Raises:
        InputError: They may not fit into the memory that is free.
        MachineError: The folder cannot be written.
    """
    if kind == "none":
        return images
    room = -(-(HEADER.size + 3 * ASPECT * size.side**2) // mmap.PAGESIZE) * mmap.PAGESIZE
    made_of = f"{VERSION} {size} {ASPECT} {PIL.__version__} ".encode() + images.digests.tobytes()
    key = hashlib.sha256(made_of).hexdigest()[:32]
    if kind == "ram":
        return Cached(images, size, _memory(key, room, len(images.labels), size.side))
    return Cached(images, size, FileSlots(folder / f"{key}.images", room))


@lru_cache(maxsize=4)  # training and validation images, of this job of a sweep and of the last
def _memory(key: str, room: int, count: int, side: int) -> MemorySlots:
    """Return the memory of a split: phases and the jobs of a sweep read the same images."""
    _must_fit(round(count * side * side * 3 * 1.5))  # of photographs, whose sides are as 2 to 3
    return MemorySlots(room, count)


def _must_fit(needed: int) -> None:
    table = Path("/proc/meminfo")
    if not table.exists():
        return
    lines = dict(line.split(":") for line in table.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    if needed > SHARE * free:
        what = f"data.cache=ram would keep about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        raise InputError(what, "choose data.cache=disk, or a smaller data.image_size")


def _unusable(path: Path, error: OSError) -> MachineError:
    mend = "free some space" if error.errno == errno.ENOSPC else "choose another folder: data.cache_dir=PATH"
    return MachineError(
        f"cannot write the image cache {path}: {error.strerror or error}", f"{mend}, or data.cache=none"
    )
