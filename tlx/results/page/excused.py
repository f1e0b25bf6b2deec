"""Excused: a page that cannot be made costs a line, not what it shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tlx.results.console import console, say

log = logging.getLogger("tlx")


@contextmanager
def excused(label: str, again: str = "") -> Iterator[None]:
    """Make a page in the block; whatever goes wrong is said behind ``label``, and ``again`` how to mend it."""
    try:
        yield
    except Exception as error:
        log.exception("no %s", label)
        told = f"could not be made: {type(error).__name__}: {error}{f'; {again}' if again else ''}"
        say(console(), label, told, "yellow")
