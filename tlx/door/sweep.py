"""A sweep's end: its jobs compared, and the worst exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tlx import caches
from tlx.door.arguments import OWN
from tlx.errors import EXIT_BUG, InputError
from tlx.results.run_folder import RunFolder, overrides_of
from tlx.storage import read_text

CODE = ("hydra", "backbone.target")
TASK = re.compile(r"\+{0,2}\w[\w.]*=")  # a value of a key; anything else has no business in a sweep's own file

started: list[Path] = []  # the folder of the sweep that this process started, put there by SweepStart


class SweepStart(Callback):
    """Hydra calls it in the process that starts a sweep, whichever launcher runs the jobs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Remember the sweep's folder."""
        started.append(Path(str(config.hydra.sweep.dir)).absolute())


def finish(interrupted: bool = False) -> int | None:
    """Write and print the comparison of the sweep, and return its worst job's exit code; None without a sweep.

    Of one that is ``interrupted``, say how it goes on.
    """
    if not started:
        return None
    folder = started.pop()
    jobs = sorted((path for path in folder.glob("*/") if re.match(r"\d+_", path.name)), key=_number)
    if not jobs or not any((job / "config.json").exists() or (job / "failure.json").exists() for job in jobs):
        return None
    from tlx.results.comparison import collect, show
    from tlx.results.console import console, error

    rows = collect(folder, [(job, overrides_of(job)) for job in jobs])
    show(console(), folder, rows)
    if any(RunFolder(job).report.exists() for job in jobs):  # where pages are wanted
        from tlx.results.page.compare import make_comparison

        make_comparison(folder, rows, jobs)
    if interrupted:
        error(f"the sweep is interrupted; go on with: {RunFolder(folder).resume_command}", wrong=False)
    return worst([int(row["exit_code"]) for row in rows])


def again(words: Sequence[str]) -> list[str] | None:
    """Return the command line of the sweep whose folder ``run=`` names, for its own folder; None where it names none.

    Jobs that are finished are then left alone, others go on. A sweep's folder may come from anyone: what it says of
    Hydra, which runs code, is not heard, and of whose code a network is, the command line has to say it again.

    Raises:
        InputError: The folder is damaged; other words than a sweep's resumption takes.
    """
    given = dict(word.partition("=")[::2] for word in words if not word.startswith("-"))
    folder = Path(given.pop("run", "").strip("'\"")).expanduser().absolute()
    file = folder / "multirun.yaml"
    if not file.is_file():
        return None
    if unknown := [key for key in given if not key.startswith(OWN)]:
        raise InputError(f"{unknown[0]} cannot be changed when a sweep goes on", "resume its runs one by one")
    try:
        saved = yaml.safe_load(read_text(file))["hydra"]["overrides"]["task"]
        task = [word for word in saved if isinstance(word, str)]
    except (yaml.YAMLError, TypeError, KeyError, RecursionError):
        raise InputError(f"{file} is damaged", "resume its runs one by one") from None
    if "backbone.target" in given:  # what goes into code of the user's own is for the command line as well
        task = [word for word in task if not word.lstrip("+").startswith("backbone.kwargs")]
    if strange := [word for word in task if not TASK.match(word) or word.lstrip("+").startswith(CODE)]:
        what = f"{file} asks for {strange[0]!r}, which a folder may not"
        raise InputError(what, "start the sweep again, or resume its runs one by one")
    task = [word for word in task if _may_stay(word)]
    started_with = [word for word in words if not word.startswith("run=")]
    return ["-m", *started_with, *task, f"hydra.sweep.dir={folder}"]


def _may_stay(word: str) -> bool:
    """Whether a saved word may be repeated: one that names a cache's folder, only if it is one."""
    key, _, value = word.lstrip("+").partition("=")
    group, _, inner = key.partition(".")
    name = caches.KEYS.get((group, inner))
    return name is None or value == "null" or caches.is_ours(value.strip("'\""), name)


def worst(codes: list[int]) -> int:
    """Return the exit code that asks most urgently for attention: a bug before anything else, then the highest."""
    return EXIT_BUG if EXIT_BUG in codes else max(codes, default=0)


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])
