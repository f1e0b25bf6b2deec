"""Caches: folders that tlx fills to save work. A run folder may name one, and only one that tlx made is written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARK = ".tlx-cache"
SAYS = "tlx made this folder, to save work. It can be removed as a whole.\n"
# What names one in a run's config, and what it is called below the folder of all caches.
KEYS = {("features", "dir"): "features", ("data", "cache_dir"): "images", ("trainer", "cache_dir"): "pace"}


def make(folder: Path) -> None:
    """Make a cache's folder, and mark it.

    Raises:
        OSError: It cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / MARK
    if not mark.exists():
        mark.write_text(SAYS, encoding="utf-8")


def usual(name: str) -> str:
    """Return where a cache is if nobody says otherwise."""
    return f"{os.environ.get('TLX_CACHE', '~/.cache/tlx')}/{name}"


def ours(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's resolved config, which may be anyone's, with the usual folders for any that tlx never made."""
    made = {group: dict(inner) if isinstance(inner, Mapping) else inner for group, inner in config.items()}
    for (group, key), name in KEYS.items():
        inner = made.get(group)
        if isinstance(inner, dict) and inner.get(key) is not None and not is_ours(inner[key], name):
            inner[key] = usual(name)
    init = made.get("init")
    if isinstance(init, dict) and init.get("cache") is not None and not _is_the_hubs(init["cache"]):
        init["cache"] = None
    return made


def is_ours(given: Any, name: str) -> bool:
    """Whether a folder is one that tlx has made, or would."""
    if not isinstance(given, str):
        return False
    return given == usual(name) or (Path(given).expanduser() / MARK).is_file()


def _is_the_hubs(given: Any) -> bool:
    """Whether a folder is one that the hub's client has filled: it writes there what it lacks."""
    return isinstance(given, str) and any(Path(given).expanduser().glob("models--*"))
