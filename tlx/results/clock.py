"""Seconds by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = "data", "advice", "profile", "features", "fit", "evaluate", "report"


class Clock:
    """Adds up wall-clock seconds by phase; ``total`` counts from ``started`` (a ``time.monotonic`` value).

    What phases there are within another count as that one's: a second belongs to one phase.
    """

    def __init__(self, started: float, imports: float) -> None:
        self.started = started
        self.seconds = {"imports": imports, **dict.fromkeys(PHASES, 0.0)}
        self._inside = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase."""
        if self._inside:
            yield
            return
        start, self._inside = time.monotonic(), True
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - start
            self._inside = False

    def read(self) -> dict[str, float]:
        """Return the seconds of every phase and the total."""
        return {"total": time.monotonic() - self.started, **self.seconds}
