"""The log: what libraries say goes to ``tlx.log``, so that the terminal holds what a person wants to read."""

from __future__ import annotations

import logging
import re
import shlex
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlx.secrecy import discreet, discreet_word

# Warnings that do not apply here, each with its reason; in a log they would only send a reader astray.
EXPECTED = (
    ".*dataloader is not resumable.*",  # it is: the order is a function of (seed, epoch) and skips what is done
    ".*module\\(s\\) in eval mode at the start of training.*",  # what is frozen is
    ".*does not have many workers.*",  # images in memory need none
    ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning's own use of torch
    ".*custom batch sampler.*",
    ".*Detected call of `lr_scheduler.step\\(\\)` before.*",  # a resumed schedule goes on where it was
)
# Lightning's words for services of its maker, and about a reader that it does not use here: ours refuses code.
ADVERT = re.compile("^. Tip: For seamless cloud|^`weights_only` was not set")
CHATTY = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "timm")


class _Discreet(logging.Formatter):
    """Writes records, tracebacks too, with masks for what is secret."""

    def __init__(self, secrets: Collection[str], form: str) -> None:
        super().__init__(form)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record), self._secrets)


class _File(logging.FileHandler):
    """Writes as long as it can: a full disk ends the run with a line of its own, not with logging's traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Say nothing."""

    def close(self) -> None:
        """Close the file, whatever could not be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def logged(path: Path | None, secrets: Collection[str] = ()) -> Iterator[None]:
    """Send every log record and warning of the block to a file, without ``secrets``, or nowhere."""
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        handler = _File(path, encoding="utf-8", errors="backslashreplace")
    handler.addFilter(lambda record: not ADVERT.search(record.getMessage()))
    handler.setFormatter(_Discreet(secrets, "%(asctime)s %(levelname)s %(name)s: %(message)s"))
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
        with warnings.catch_warnings():
            for message in EXPECTED:
                warnings.filterwarnings("ignore", message)
            logging.getLogger("tlx").info("command: %s", shlex.join(map(discreet_word, sys.argv)))
            yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
