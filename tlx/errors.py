"""The errors a user can cause, and the exit code each ends the program with."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_INPUT = 2
EXIT_MACHINE = 3
EXIT_NUMERICAL = 4
EXIT_SIGNAL = 128  # and the signal's number
EXIT_SIGINT = EXIT_SIGNAL + signal.SIGINT


class TlxError(Exception):
    """Something a person can mend. Prints as ``tlx: error: WHAT; HOW TO MEND IT``, never with a traceback."""

    exit_code = EXIT_INPUT

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}; {mend}" if mend else what)
        self.what = what
        self.mend = mend


class InputError(TlxError):
    """The user's input: a config value, a file, a folder."""


class MachineError(TlxError):
    """The machine: disk, memory, permission."""

    exit_code = EXIT_MACHINE


class NumericalError(TlxError):
    """A loss that is NaN or infinite."""

    exit_code = EXIT_NUMERICAL


class FrozenMovedError(TlxError):
    """A frozen tensor changed during training: a bug in tlx or in the network's own code."""

    exit_code = EXIT_BUG


class ParityError(TlxError):
    """An export that does not say what the network says that it was made of: a bug in tlx or in what it was made by."""

    exit_code = EXIT_BUG


class Interrupted(TlxError):  # noqa: N818
    """A signal ended the run after its state was saved; ``saved`` says what there is, in words."""

    def __init__(self, signal_name: str, resume_command: str, saved: str = "the state is saved") -> None:
        mend = f"go on with: {resume_command}" if resume_command else ""
        super().__init__(f"interrupted by {signal_name}, {saved}", mend)
        self.exit_code = EXIT_SIGNAL + getattr(signal, signal_name, signal.SIGTERM)


def nearest(word: str, known: Iterable[str], before: str = "") -> str:
    """Say the nearest known word, with what stands ``before`` it, and the list: ``did you mean 'x'? one of: w, x, y``.

    The list ends with an ellipsis after thirty words, so that a thousand backbones do not fill the terminal.
    """
    words = list(known)
    begun = [known for known in words if word and known.startswith(word)]
    close = list(dict.fromkeys([*begun, *get_close_matches(word.lower(), words, n=3, cutoff=0.6)]))[:3]
    hint = f"did you mean {' or '.join(repr(before + c) for c in close)}? " if close else ""
    shown = ", ".join(words[:30]) + (", ..." if len(words) > 30 else "")
    return f"{hint}one of: {shown}"
