"""Remembered: what this machine has found out before, in a small file for each question."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from tlx import caches
from tlx.errors import TlxError
from tlx.secrecy import hidden
from tlx.storage import read_json, write_json

log = logging.getLogger("tlx")


class Remembered:
    """The answer to a question, both plain data, in ``FOLDER/HASH.json``; nowhere, where there is no folder.

    A file that cannot be written, or that somebody damaged, costs another search and never a run.
    """

    def __init__(self, folder: Path | None, question: dict[str, Any]) -> None:
        self.question: dict[str, Any] = json.loads(json.dumps(hidden(question)))
        digest = hashlib.blake2b(json.dumps(self.question, sort_keys=True).encode(), digest_size=16).hexdigest()
        self.path = None if folder is None else folder / f"{digest}.json"

    def read(self) -> Any:
        """Return the answer; None where there is none."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            content = read_json(self.path)
            return content["answer"] if content["question"] == self.question else None
        except (TlxError, KeyError, TypeError) as error:
            log.info("%s is of no use: %s", self.path, error)
            return None

    def write(self, answer: Any, **beside: Any) -> None:
        """Keep the answer, and beside it what it was found by."""
        if self.path is None:
            return
        try:
            caches.make(self.path.parent)
            write_json(self.path, {"answer": answer, **beside, "question": self.question})
        except (OSError, TlxError) as error:
            log.info("not remembered: %s", error)
