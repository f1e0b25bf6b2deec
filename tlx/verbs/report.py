"""``report``: the pages of finished runs made anew, and the one that compares them."""

from __future__ import annotations

import os
from pathlib import Path

from tlx.config.roots import ReportConfig
from tlx.errors import InputError
from tlx.results.comparison import collect, show
from tlx.results.console import console, say
from tlx.results.page.compare import write_comparison
from tlx.results.page.report import write_report
from tlx.results.run_folder import RunFolder, must_stay_inside, overrides_of, shown


def report(config: ReportConfig) -> None:
    """Write every run's ``report.html``, and ``comparison.html`` with ``comparison.csv`` of several runs.

    Raises:
        InputError: A folder that holds no run; one run that is not finished.
    """
    out = console()
    paths = [path for given in config.runs for path in _runs_of(Path(given).expanduser().absolute())]
    paths = list(dict.fromkeys(paths))
    done = [path for path in paths if RunFolder(path).result.is_file()]
    if len(paths) == 1:
        RunFolder(paths[0]).must_be_finished()
    for path in paths:
        must_stay_inside(path)
    for path in done:
        say(out, "report", shown(write_report(RunFolder(path))))
    if len(paths) == 1:
        return
    folder = Path(config.output).expanduser().absolute() if config.output else Path(os.path.commonpath(paths))
    folder.mkdir(parents=True, exist_ok=True)
    rows = collect(folder, [(path, overrides_of(path)) for path in paths])
    show(out, folder, rows)
    say(out, "page", shown(write_comparison(folder, rows, paths)))


def _runs_of(path: Path) -> list[Path]:
    """Return a run's folder, or those that a folder holds, in the order of their numbers and names."""
    if (path / "config.json").is_file():
        return [path]
    inner = [one for one in path.glob("*/") if (one / "config.json").is_file() or (one / "failure.json").is_file()]
    if not inner:
        raise InputError(
            f"{shown(path)} holds no run", "give a folder that `train` made, or one that holds such folders"
        )
    return sorted(inner, key=lambda one: (int(head) if (head := one.name.partition("_")[0]).isdigit() else 0, one.name))
