"""Intervals: how far a figure might lie off, had other images of the same kind been drawn."""

from __future__ import annotations

import numpy as np

DRAWS = 2000
COVERED = 0.95


def intervals(matrix: np.ndarray, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals of ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` (Efron, 1979).

    ``matrix`` (K, K) counts images, rows true. Drawing images with replacement draws cells of it from a multinomial
    distribution, which is all that these figures depend on; a class that a draw leaves out has no say in it.
    """
    counts = np.asarray(matrix, np.int64)
    total = int(counts.sum())
    rows, columns = np.nonzero(counts)
    shares = counts[rows, columns] / total
    classes, right = len(counts), rows == columns
    found: dict[str, list[float]] = {"accuracy": [], "balanced_accuracy": [], "macro_f1": []}
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        drawn = rng.multinomial(total, shares)
        true = np.bincount(rows, drawn, classes)
        said = np.bincount(columns, drawn, classes)
        hits = np.bincount(rows[right], drawn[right], classes)
        present, seen = true > 0, (true + said) > 0
        found["accuracy"].append(hits.sum() / total)
        found["balanced_accuracy"].append(float((hits[present] / true[present]).mean()))
        found["macro_f1"].append(float((2 * hits[seen] / (true + said)[seen]).mean()))
    tail = 100 * (1 - COVERED) / 2
    return {
        name: (float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail)))
        for name, values in found.items()
    }
