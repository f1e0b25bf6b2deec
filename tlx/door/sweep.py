"""A sweep's end: its jobs compared, and the worst exit code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tlx.errors import EXIT_BUG
from tlx.results.run_folder import RunFolder, overrides_of

started: list[Path] = []  # the folder of the sweep that this process started, put there by SweepStart


class SweepStart(Callback):
    """Hydra calls it in the process that starts a sweep, whichever launcher runs the jobs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Remember the sweep's folder."""
        started.append(Path(str(config.hydra.sweep.dir)).absolute())


def finish() -> int | None:
    """Write and print the comparison of the sweep, and return its worst job's exit code; None without a sweep."""
    if not started:
        return None
    folder = started.pop()
    jobs = sorted((path for path in folder.glob("*/") if re.match(r"\d+_", path.name)), key=_number)
    if not jobs or not any((job / "config.json").exists() or (job / "failure.json").exists() for job in jobs):
        return None
    from tlx.results.comparison import collect, show
    from tlx.results.console import console

    rows = collect(folder, [(job, overrides_of(job)) for job in jobs])
    show(console(), folder, rows)
    if any(RunFolder(job).report.exists() for job in jobs):  # where pages are wanted
        from tlx.results.page.compare import make_comparison

        make_comparison(folder, rows, jobs)
    return worst([int(row["exit_code"]) for row in rows])


def worst(codes: list[int]) -> int:
    """Return the exit code that asks most urgently for attention: a bug before anything else, then the highest."""
    return EXIT_BUG if EXIT_BUG in codes else max(codes, default=0)


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])
