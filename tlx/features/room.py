"""Room: how much disk the banks of all trunks take, and what goes when it is too much: what was used longest ago."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tlx.errors import MachineError
from tlx.features.store import Store
from tlx.storage import write_json

NAME = re.compile(r"[0-9a-f]{32}(-\d+)?")  # an address; what is called otherwise is somebody else's
OURS = ("*.safetensors", ".*.tmp")
MARK = "trunk.json"  # what a bank is made of, for people; its time tells when it was last used
STALE_S = 86_400.0  # a writer's temporary file that is older is of one that died
BUSY_S = 120.0  # a bank that was used so lately is in use: a pass notes itself with every file that it writes


def mark(store: Store, made_of: dict[str, Any]) -> None:
    """Note that a bank is used now; of a new one, or of one that somebody has removed meanwhile, what it is made of."""
    if store.folder is None or store.trouble is not None:
        return
    with contextlib.suppress(OSError, MachineError):
        if (store.folder / MARK).exists():
            os.utime(store.folder / MARK)
        else:
            write_json(store.folder / MARK, made_of)


def taken(root: Path) -> int:
    """Return how many bytes all banks below ``root`` take."""
    return sum(_size(folder) for folder in _banks(root))


def tidy(root: Path, limit: float, spared: Collection[Path | None] = ()) -> int:
    """Remove the banks used longest ago until all take ``limit`` bytes at most; return how many bytes that gave back.

    ``spared`` are in use, and so is what was used in the last minutes. A reader of a removed file has it until it lets
    go; who looks for it computes it again. Nothing is touched but files of a bank, in folders that have a bank's name.
    """
    _sweep(root)
    sizes = {folder: _size(folder) for folder in _banks(root)}
    total = before = sum(sizes.values())
    for folder in sorted(sizes, key=_used):
        if total <= limit:
            break
        if folder not in spared and time.time() - _used(folder) > BUSY_S:
            _remove(folder)
            total -= sizes[folder] - _size(folder)
    return before - total


def _banks(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in root.iterdir() if NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _remove(folder: Path) -> None:
    """Remove a bank's files, and its folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        for file in [file for ours in OURS for file in folder.glob(ours)] + [folder / MARK]:
            file.unlink(missing_ok=True)
        folder.rmdir()


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
