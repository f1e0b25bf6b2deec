"""The dataclasses of the group ``freeze``: which parameters train in which epoch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "NoFreeze",
    "TrunkFreeze",
]


@dataclass
class TrunkFreeze:
    """Freeze every kept weight and buffer; only the head trains."""

    kind: str = "trunk"


@dataclass
class NoFreeze:
    """Train everything."""

    kind: str = "none"
