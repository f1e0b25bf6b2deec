"""The run folder: one training and everything it leaves behind."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlx.errors import InputError
from tlx.storage import TEMPORARY, cannot_write, read_json, read_text, sweep_up, write_json

LOCK = ".lock"


class RunFolder:
    """A run's folder: its config, log, facts about the data, metrics, checkpoints, model and result."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.began = False  # whether a training is under way: nothing about its start is left to be refused
        self.config = self.path / "config.json"
        self.log = self.path / "tlx.log"
        self.data = self.path / "data.json"
        self.result = self.path / "result.json"
        self.failure = self.path / "failure.json"
        self.model = self.path / "model"
        self.checkpoints = self.path / "checkpoints"  # a folder in it for each phase of a training
        self.advice = self.path / "advice.json"  # of case=auto
        self.decisions = self.checkpoints / "decisions.json"
        self.metrics = self.path / "metrics.csv"
        self.predictions = self.path / "predictions.csv"
        self.surgery = self.path / "surgery.json"
        self.mistakes = self.path / "mistakes"  # pictures of the worst ones
        self.report = self.path / "report.html"
        self.picture = self.path / "surgery.svg"
        self.plots = self.path / "plots"

    @classmethod
    def create(cls, path: Path, config: dict[str, Any], fresh: bool = True) -> RunFolder:
        """Make the folder and save the run's plain config in it.

        Raises:
            InputError: The folder already holds a run.
            MachineError: The folder cannot be written.
        """
        folder = cls(path)
        taken = InputError(f"{folder.path} already holds a run", f"resume it: {folder.resume_command}")
        if fresh and folder.config.exists():
            raise taken
        try:
            folder.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder.path, error) from None
        try:
            _claim(folder.config, config) if fresh else write_json(folder.config, config)
        except FileExistsError:  # another run of this moment has the folder
            raise taken from None
        return folder

    @classmethod
    def open(cls, path: str) -> RunFolder:
        """Open an existing run.

        Raises:
            InputError: The folder holds no run.
        """
        folder = cls(Path(path).expanduser())
        if not folder.config.is_file():
            raise InputError(f"run={folder.path} holds no run", "give a folder that `train` made, with its config.json")
        must_stay_inside(folder.path)
        return folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for the block, and sweep up what a killed run has left in it.

        Raises:
            InputError: Another process works in it.
        """
        try:
            handle = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            if not _locked(handle):
                raise InputError(f"another process works in {shown(self.path)}", "wait for its end, or end it")
            sweep_up(self.path)
            yield
        finally:
            os.close(handle)  # which lets go of it, as the end of the process does

    def must_be_finished(self) -> None:
        """Make sure that the run has trained to its end.

        Raises:
            InputError: It has not.
        """
        if not self.model.is_dir() or not self.result.is_file():
            raise InputError(f"{self.path} is not finished", f"go on: {self.resume_command}")

    def read_config(self) -> dict[str, Any]:
        """Read the run's plain config."""
        config = read_json(self.config)
        if not isinstance(config, dict):
            raise InputError(f"{self.config} is damaged", "run again")
        return config

    def read_result(self) -> dict[str, Any]:
        """Read what the run measured."""
        result = read_json(self.result)
        if not isinstance(result, dict):
            raise InputError(f"{self.result} is damaged", "run again")
        return result

    def fail(self, reason: str, exit_code: int) -> None:
        """Record why a run failed, for the comparison of its sweep."""
        write_json(self.failure, {"reason": reason, "exit_code": exit_code})

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return f"python -m tlx resume run={shlex.quote(shown(self.path))}"


def _claim(file: Path, config: dict[str, Any]) -> None:
    """Write a file that nobody else has written; a rename would replace what another run just put there.

    Raises:
        FileExistsError: Another has.
    """
    mine = file.with_name(f".{file.name}.{secrets.token_hex(4)}{TEMPORARY}")
    write_json(mine, config)
    try:
        os.link(mine, file)
    except FileExistsError:
        raise
    except OSError:  # a filesystem without hard links
        write_json(file, config)
    finally:
        mine.unlink(missing_ok=True)


def must_stay_inside(path: Path) -> None:
    """Make sure that no link in a folder, which may come from anyone, leads out of it: it is read, and written to.

    Raises:
        InputError: One does.
    """
    root = path.resolve()
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            link = Path(place, name)
            if link.is_symlink() and not link.resolve().is_relative_to(root):
                what = f"{shown(path)} holds a link that leads out of it: {link.relative_to(root)}"
                raise InputError(what, "put what it means in its place")


def _locked(handle: int) -> bool:
    """Take a lock; where the system or the filesystem knows none, nothing can be known of others either."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def overrides_of(path: Path) -> list[str]:
    """Return what stood on the command line of a run, as Hydra keeps it beside it."""
    file = path / ".hydra" / "overrides.yaml"
    if not file.is_file():
        return []
    from tlx.config.knots import read_yaml

    try:
        words = read_yaml(read_text(file))
    except InputError:  # one damaged file costs what it says, not the comparison
        return []
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def shown(path: Path) -> str:
    """Return a path as a person would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
