"""Dataclass fields that carry their own limits, so that an argument and its check are declared together."""

from __future__ import annotations

from dataclasses import field
from typing import Any

REQUIRED = "???"  # OmegaConf's mark of a value that the user must give


def number(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    words: tuple[str, ...] = (),
) -> Any:
    """Declare a number in ``[low, high]``, or greater than ``above``; or one of a few words in its place."""
    return field(default=default, metadata={"low": low, "high": high, "above": above, "words": words})


def choice(default: str, *options: str) -> Any:
    """Declare one word out of a list."""
    return field(default=default, metadata={"choices": options})


def path(default: Any = None, *, required: bool = False) -> Any:
    """Declare a path: the door quotes it for Hydra and expands ``~``."""
    return field(default=REQUIRED if required else default, metadata={"path": True})


def paths() -> Any:
    """Declare a list of at least one path, or a single one in its place."""
    return field(default=REQUIRED, metadata={"path": True, "several": True, "least": 1})


def numbers(*default: float, low: float | None = None, high: float | None = None, least: int = 0) -> Any:
    """Declare a list of at least ``least`` numbers, each in ``[low, high]``."""
    return field(default_factory=lambda: list(default), metadata={"low": low, "high": high, "least": least})
