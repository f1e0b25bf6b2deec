"""Seconds by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Adds up wall-clock seconds by phase; ``total`` counts from ``started`` (a ``time.monotonic`` value)."""

    def __init__(self, started: float, imports: float) -> None:
        self.started = started
        phases = ("data", "profile", "features", "fit", "evaluate", "report")
        self.seconds = {"imports": imports, **dict.fromkeys(phases, 0.0)}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - start

    def read(self) -> dict[str, float]:
        """Return the seconds of every phase and the total."""
        return {"total": time.monotonic() - self.started, **self.seconds}
