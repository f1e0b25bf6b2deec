"""Kept: which phase and which epoch the weights are from that a run ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlx.learner.checkpoints import best_of, read_history
from tlx.learner.metrics import VALIDATED
from tlx.learner.plan import Phase
from tlx.training.work import Work


def kept(work: Work, phases: Sequence[Phase]) -> dict[str, Any] | None:
    """Tell where the weights are from that the last of ``phases`` kept; None where it was solved, without epochs.

    ``epoch`` counts from 0, as in ``metrics.csv``, and is None for a solved phase; ``epochs`` is how many there were.
    ``unbeaten_by`` names the last phase where none of its epochs beat what an earlier one handed on, else it is None.
    ``val`` holds the validation by which these weights were chosen.
    """
    last = phases[-1]
    rows = read_history(work.folder.checkpoints / last.name)
    index = best_of(rows, work.config.callbacks.checkpoint.monitor)
    if index is None:
        return None
    val = {name: rows[index][f"val/{name}"] for name in VALIDATED}
    if rows[index]["epoch"] >= 0:
        epochs = sum(row["epoch"] >= 0 for row in rows)
        return {
            "phase": last.name,
            "epoch": int(rows[index]["epoch"]),
            "epochs": epochs,
            "unbeaten_by": None,
            "val": val,
        }
    solved = {"phase": phases[-2].name, "epoch": None, "epochs": 0}
    return {**(kept(work, phases[:-1]) or solved), "unbeaten_by": last.name, "val": val}
