"""Signals: noted at once, acted on where the state can be saved."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tlx.errors import Interrupted

# The last is the one by which Slurm and other schedulers announce the end, if they are asked to; not on Windows.
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))


class Interruption:
    """Remembers the first SIGINT, SIGTERM or SIGUSR1; a second one ends the process at once.

    While ``deferred``, the training loop asks :attr:`signal_name` between batches; otherwise the signal raises
    :class:`~tlx.errors.Interrupted` where it finds the program.
    """

    def __init__(self, resume_command: str, saved: Callable[[], str] = lambda: "the state is saved") -> None:
        self.resume_command = resume_command
        self.saved = saved  # says what there is of what was under way
        self.signal_name: str | None = None
        self.since: float | None = None
        self.deferred = False

    def error(self) -> Interrupted:
        """Return the exception that ends the run."""
        return Interrupted(self.signal_name or "a signal", self.resume_command, self.saved())

    def _noted(self, number: int, _: FrameType | None) -> None:
        if self.signal_name is not None:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        self.since = time.monotonic()
        if not self.deferred:
            raise self.error()

    @contextmanager
    def watch(self) -> Iterator[Interruption]:
        """Handle signals inside the block, and hand them back to whoever had them."""
        before = {number: signal.signal(number, self._noted) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def claim(self) -> None:
        """Take the signals back from a library that added a handler of its own."""
        for number in SIGNALS:
            signal.signal(number, self._noted)

    @contextmanager
    def defer(self) -> Iterator[None]:
        """Let the training loop choose the moment; a signal that came after its last question counts at the end."""
        self.deferred = True
        try:
            yield
        finally:
            self.deferred = False
        if self.signal_name is not None:
            raise self.error()
