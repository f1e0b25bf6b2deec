"""Spreadsheets: rows as CSV that does no harm to whoever opens it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
MARK = "'"


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Render rows as CSV, of each what stands in ``columns``.

    A text that a spreadsheet would take for a formula gets an apostrophe.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: cell(value) if isinstance(value, str) else value for key, value in row.items()})
    return text.getvalue()


def cell(text: str) -> str:
    """Return a text that is safe in a cell, another one for every text (but for carriage returns)."""
    safe = text.replace("\r", " ")  # the csv module leaves it unquoted, readers break the line there
    return f"{MARK}{safe}" if text.startswith((*FORMULA, MARK)) else safe


def uncell(text: str) -> str:
    """Return the text that a cell holds."""
    return text.removeprefix(MARK)
