"""Rows: how messages name rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 3
COUNTED = "rows are counted from 1"


def rows(indices: Sequence[int], values: Sequence[object]) -> str:
    """Name rows by their indices, with what stands there: ``row 2 ('a.png'), row 7 ('b.png') and 5 more``."""
    shown = ", ".join(f"row {i + 1} ({v!r})" for i, v in zip(indices[:SHOWN], values, strict=False))
    return shown + (f" and {len(indices) - SHOWN:,} more" if len(indices) > SHOWN else "")
