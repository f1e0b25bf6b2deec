"""Decisions: what a run found out and decided by itself, kept as plain state so that a resumed run takes it over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlx.errors import InputError
from tlx.storage import read_json, write_json


class Decisions:
    """A run's decisions by name, in one JSON file. ``share`` hands rank 0's decision to all processes.

    Args:
        path: The file; ``None`` keeps nothing (``inspect`` writes nothing).
        writes: Whether this process is the one that writes.
        share: Maps this process's value to that of rank 0.
    """

    def __init__(
        self, path: Path | None, writes: bool = True, share: Callable[[Any], Any] = lambda value: value
    ) -> None:
        self.path = path
        self.writes = writes
        self.share = share
        self.taken: dict[str, Any] = {}
        if path is not None and path.is_file():
            content = read_json(path)
            if not isinstance(content, dict):
                raise InputError(f"{path} is damaged", "train again")
            self.taken = content

    def take(self, name: str, compute: Callable[[], Any], read: Callable[[Any], Any] = lambda value: value) -> Any:
        """Return the decision called ``name``: the one that was taken before, else what ``compute`` returns.

        The value is plain (JSON), and stands in the file before it is used; ``read`` makes of it what is returned.

        Raises:
            InputError: ``read`` can make nothing of what stands in the file.
        """
        if name not in self.taken:
            self.taken[name] = self.share(compute())
            if self.path is not None and self.writes:
                write_json(self.path, self.taken)
        return self.read(name, read)

    def read(self, name: str, read: Callable[[Any], Any]) -> Any:
        """Return what ``read`` makes of a decision that was taken.

        Raises:
            InputError: It can make nothing of it.
        """
        try:
            return read(self.taken[name])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
            raise InputError(f"{self.path} is damaged: {name} is no decision", "train again") from None
