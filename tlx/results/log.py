"""The log: what libraries say goes to ``tlx.log``, so that the terminal holds what a person wants to read."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHATTY = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "timm")


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Send every log record and warning of the block to a file, or nowhere."""
    handler = logging.NullHandler() if path is None else logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in CHATTY:  # they bring handlers of their own that write to the terminal
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    try:
        logging.getLogger("tlx").info("command: %s", shlex.join(sys.argv))
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
