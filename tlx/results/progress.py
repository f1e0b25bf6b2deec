"""Progress of what is no training: a bar on a terminal; in a file nothing, or of long work a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlx.results.console import say

OFTEN = 30.0  # seconds between two lines


@contextmanager
def bar(out: Console, what: str, shows: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes how many are done, and of how many; the bar goes when the block ends."""
    if not (shows and out.is_terminal):
        yield lambda done, count: None
        return
    columns = (TextColumn("  {task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=out, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, count: progress.update(task, completed=done, total=count)


@contextmanager
def bar_or_lines(out: Console, what: str, shows: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yield what ``bar`` does; what is no terminal gets a line now and then, with the pace and the expected end."""
    if out.is_terminal or not shows:
        with bar(out, what, shows) as progress:
            yield progress
        return
    started = told = time.monotonic()

    def tell(done: int, count: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < OFTEN or done >= count:
            return
        told, pace = now, done / (now - started)
        end = datetime.now() + timedelta(seconds=(count - done) / max(pace, 1e-9))
        say(out, what, f"{done:,} of {count:,}, {pace:,.0f} a second, expected to end at {end:%Y-%m-%d %H:%M}")

    yield tell
