"""Remembered: what a trial found on this machine, in a small file for each kind of work."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlx.errors import TlxError
from tlx.learner.trial import Pace
from tlx.storage import read_json, write_json

log = logging.getLogger("tlx")


class Remembered:
    """The pace that was chosen for a key, in ``FOLDER/HASH.json``; nowhere, where there is no folder.

    A file that cannot be written, or that somebody damaged, costs another trial and never a run.
    """

    def __init__(self, folder: str | None, key: dict[str, Any]) -> None:
        self.key: dict[str, Any] = json.loads(json.dumps(key))
        digest = hashlib.blake2b(json.dumps(self.key, sort_keys=True).encode(), digest_size=16).hexdigest()
        self.path = None if folder is None else Path(folder).expanduser() / f"{digest}.json"

    def read(self) -> Pace | None:
        """Return the pace, if there is one."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            content = read_json(self.path)
            return Pace(**content["pace"]) if content["key"] == self.key else None
        except (TlxError, KeyError, TypeError) as error:
            log.info("pace: %s is of no use: %s", self.path, error)
            return None

    def write(self, pace: Pace, seconds: dict[Pace, float]) -> None:
        """Keep the pace, and beside it the seconds of a step that it was chosen by."""
        if self.path is None:
            return
        timings = {str(way): round(taken, 6) for way, taken in seconds.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"pace": asdict(pace), "seconds_a_step": timings, "key": self.key})
        except (OSError, TlxError) as error:
            log.info("pace: not remembered: %s", error)
