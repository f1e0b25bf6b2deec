"""Progress of what is no training: a bar on a terminal, nothing in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


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
