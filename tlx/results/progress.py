"""Progress: how far long work has come, a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlx.results.console import say

OFTEN = 30.0  # seconds between two lines


class Progress:
    """Is told how much of ``what`` is done, and shows it until it is closed, with the expected end."""

    def __init__(self, out: Console, what: str, shows: bool = True) -> None:
        self.out = out
        self.what = what
        self.shows = shows
        self._said: tuple[float, int] | None = None  # when, and how much was done then
        self._bar: rich.progress.Progress | None = None
        if shows and out.is_terminal:
            columns = (TextColumn("  {task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = rich.progress.Progress(*columns, *times, console=out, transient=True)
            self._bar.add_task(what, total=None)
            self._bar.start()

    def __call__(self, done: int, count: int, what: str = "") -> None:
        """Show that ``done`` of ``count`` are done; ``what`` takes the place of what it was called."""
        if self._bar is not None:
            task = self._bar.tasks[0]
            self._bar.update(task.id, completed=done, total=count, description=what or self.what)
        elif self.shows:
            self._say(done, count, what or self.what)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self.shows = False

    def _say(self, done: int, count: int, what: str) -> None:
        now = time.monotonic()
        if self._said is None:
            self._said = now, done
        before, had = self._said
        if now - before < OFTEN or not had < done < count:
            return
        self._said = now, done
        pace = (done - had) / (now - before)
        end = datetime.now() + timedelta(seconds=(count - done) / pace)
        told = f"{what}: {done:,} of {count:,}, {pace:,.3g} a second, expected to end at {end:%Y-%m-%d %H:%M}"
        say(self.out, "progress", told)


@contextmanager
def bar(out: Console, what: str, shows: bool = True) -> Iterator[Progress]:
    """Yield what is told how many are done, and of how many; the bar goes when the block ends."""
    progress = Progress(out, what, shows)
    try:
        yield progress
    finally:
        progress.close()
