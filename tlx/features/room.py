"""Room: how much disk the banks of all trunks take, and what goes when it is too much: what was used longest ago."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tlx.errors import MachineError
from tlx.features.store import Store
from tlx.storage import write_json

MARK = "trunk.json"  # what a bank is made of, for people; its time tells when it was last used
STALE_S = 86_400.0  # a writer's temporary file that is older is of one that died


def mark(store: Store, made_of: dict[str, Any] | None = None) -> None:
    """Note that a bank is used now; of a new one, what it is made of."""
    if store.folder is None or store.trouble is not None:
        return
    with contextlib.suppress(OSError, MachineError):
        if made_of is not None:
            write_json(store.folder / MARK, made_of)
        else:
            os.utime(store.folder / MARK)


def taken(root: Path) -> int:
    """Return how many bytes all banks below ``root`` take."""
    return sum(_size(folder) for folder in _banks(root))


def tidy(root: Path, limit: float, spared: Collection[Path | None] = ()) -> int:
    """Remove the banks used longest ago until all take ``limit`` bytes at most; return how many bytes that gave back.

    ``spared`` are in use. A reader of a removed file has it until it lets go; who looks for it computes it again.
    """
    _sweep(root)
    sizes = {folder: _size(folder) for folder in _banks(root)}
    total = before = sum(sizes.values())
    for folder in sorted(sizes, key=_used):
        if total <= limit:
            break
        if folder not in spared:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
    return before - total


def _banks(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _size(folder: Path) -> int:
    size = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                size += entry.stat().st_size
    return size


def _used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return (folder / MARK).stat().st_mtime
    return 0.0


def _sweep(root: Path) -> None:
    """Remove what killed writers have left."""
    for folder in _banks(root):
        for left in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_S:
                    left.unlink()
