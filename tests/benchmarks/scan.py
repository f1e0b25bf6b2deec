"""How long a scan takes: 10,000 JPEG files of 512 x 384 pixels, made in a temporary folder.

Run: python -m tests.benchmarks.scan [COUNT]. Prints a Markdown table. The files were just written, so that they are
read from memory; a slow disk or network adds its own time. Both scans read and hash every file, as the fingerprint of
a run does in any case; that part has a row of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlx.config.groups import FolderData
from tlx.data.own.folder import open_folder
from tlx.data.scan.alike import near
from tlx.data.scan.looks import look_at_headers, look_at_pixels
from tlx.data.scan.together import Together

COUNT, CLASSES, SIZE = 10_000, 10, (384, 512)


def make(root: Path, count: int) -> None:
    """Write images of smooth noise; every tenth is to be turned as its EXIF data says."""
    rng = np.random.default_rng(0)
    for index in range(count):
        folder = root / f"class {index % CLASSES}"
        folder.mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6 if index % 10 == 0 else 1
        coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=85, exif=exif)


def timed(what: str, count: int, work: Callable[[], Any]) -> Any:
    """Do the work and print its row."""
    begin = time.perf_counter()
    outcome = work()
    seconds = time.perf_counter() - begin
    sys.stdout.write(f"| {what} | {seconds:.2f} | {count / seconds:,.0f} |\n")
    sys.stdout.flush()
    return outcome


def silent(done: int, count: int) -> None:
    """Tell nothing of the progress."""


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, count)
        sys.stdout.write(f"{count:,} JPEG files of 512 x 384 pixels, {os.cpu_count()} cores\n\n")
        sys.stdout.write("| | seconds | images/s |\n|---|---|---|\n")
        found = timed("listing the folder", count, lambda: open_folder(FolderData(root=folder)))
        images = Together(found.given)
        _, bad = timed("headers", count, lambda: look_at_headers(images, silent))
        timed("hashes of the contents", count, lambda: images.digests)
        pixels = timed("all pixels", count, lambda: look_at_pixels(images, bad, silent))
        timed("comparing the looks", count, lambda: near(pixels.hashes))
    for many in (50_000, 1_000_000):
        hashes = np.random.default_rng(0).integers(0, 1 << 64, (many, 2), dtype=np.uint64)
        timed(f"comparing the looks of {many:,}", many, lambda hashes=hashes: near(hashes))


if __name__ == "__main__":
    main()
