"""The four cases side by side: what ``advise`` and ``case=auto`` choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tlx.config.check import check
from tlx.config.knots import resolved
from tlx.config.roots import TrainConfig
from tlx.errors import InputError

AUTO = "auto"
CASES = ("small_similar", "small_different", "large_similar", "large_different")
DECIDED = ("init", "cut", "freeze")  # groups that advice chooses an option of

Plain = dict[str, Any]


@dataclass(frozen=True)
class Auto:
    """The same images and backbone under each case, typed and as a file keeps it.

    ``epochs_given``: whether somebody said for how many epochs whole networks are trained. ``words``: what stood on the
    command line beside the case.
    """

    cases: dict[str, TrainConfig]
    plain: dict[str, Plain]
    epochs_given: bool
    words: tuple[str, ...] = ()

    def saved(self) -> Plain:
        """Return what a run's ``config.json`` holds while the case is not chosen yet."""
        return {"case": AUTO, "cases": self.plain, "epochs_given": self.epochs_given}


def is_auto(plain: Mapping[str, Any]) -> bool:
    """Whether a saved config still leaves the case open."""
    return plain.get("case") == AUTO and "cases" in plain


def read_auto(plain: Mapping[str, Any], read: Callable[[Plain], TrainConfig] | None = None) -> Auto:
    """Read what :meth:`Auto.saved` returned; ``read`` makes a typed config of a plain one.

    Raises:
        InputError: One of the cases is missing, or what is wrong with one.
    """
    given = plain.get("cases")
    listed = given.items() if isinstance(given, Mapping) else ()
    saved: dict[str, Plain] = {case: dict(one) for case, one in listed if isinstance(one, Mapping)}
    if set(saved) != set(CASES):
        raise InputError("case=auto needs all four cases to choose from", "start the run again")
    typed = {case: read(saved[case]) if read else check(resolved(saved[case]), TrainConfig) for case in CASES}
    return Auto(typed, {case: saved[case] for case in CASES}, bool(plain.get("epochs_given")))
