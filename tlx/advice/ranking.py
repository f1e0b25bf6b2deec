"""Ranking: several backbones by what probes make of the same images, one pass each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tlx.advice.advise import looker
from tlx.advice.evidence import LOOKED, probing
from tlx.config.cases import Auto
from tlx.data.source import Source
from tlx.errors import InputError
from tlx.features.logme import logme
from tlx.features.profile import probe_depths
from tlx.results.clock import Clock


def rank(autos: Sequence[Auto], source: Source, clock: Clock) -> list[dict[str, Any]]:
    """Probe every backbone at every depth; return what was found, the most accurate first, then the cheapest.

    A backbone that cannot be opened has ``error`` and stands last.

    Raises:
        InputError: None can be opened.
    """
    rows = []
    for index, auto in enumerate(autos):
        config = auto.cases["small_similar"]
        row: dict[str, Any] = {"index": index, "backbone": config.backbone.name, "error": ""}
        started = time.monotonic()
        try:
            survey = looker(config, source, clock)(config, LOOKED)
            labels = survey.source.train.labels
            profile = probe_depths(survey.found, labels, probing(len(source.train.labels)), config.seed)
        except InputError as error:
            rows.append({**row, "error": str(error)})
            continue
        best = profile.rows[profile.best]
        rows.append(
            {
                **row,
                "accuracy": best.accuracy,
                "standard_error": best.standard_error,
                "place": best.place.name,
                "logme": logme(survey.found[profile.best][1], labels),
                "parameters": best.place.parameters,
                "multiply_adds": best.place.multiply_adds,
                "seconds": time.monotonic() - started,
            }
        )
    if all(row["error"] for row in rows):
        raise InputError(f"no backbone can be opened: {rows[0]['error']}", "see python -m tlx --help")
    return sorted(rows, key=lambda row: (bool(row["error"]), -row.get("accuracy", 0), row.get("multiply_adds", 0)))
