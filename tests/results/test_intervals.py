"""Intervals hold what other draws of images give, about as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from tlx.results.intervals import COVERED, intervals


def drawn(count: int, seed: int, right: tuple[float, ...] = (0.9, 0.6, 0.8)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    hit = rng.random(count) < np.array(right)[labels]
    return labels, np.where(hit, labels, (labels + rng.integers(1, 3, count)) % 3)


def test_they_are_those_of_images_drawn_again() -> None:
    labels, said = drawn(300, 0)
    found = intervals(confusion_matrix(labels, said))
    rng, values = np.random.default_rng(1), {"accuracy": [], "balanced_accuracy": [], "macro_f1": []}
    for _ in range(1000):  # the plain bootstrap, image by image
        again = rng.integers(0, 300, 300)
        y, p = labels[again], said[again]
        values["accuracy"].append((y == p).mean())
        values["balanced_accuracy"].append(balanced_accuracy_score(y, p))
        values["macro_f1"].append(f1_score(y, p, average="macro"))
    for name, ends in found.items():
        assert ends == pytest.approx(np.percentile(values[name], [2.5, 97.5]), abs=0.012), name


def test_they_cover_the_truth_as_often_as_they_say() -> None:
    covered = {True: 0, False: 0}
    for seed in range(60):
        labels, said = drawn(200, seed + 10)
        low, high = intervals(confusion_matrix(labels, said))["accuracy"]
        covered[low <= (0.9 + 0.6 + 0.8) / 3 <= high] += 1
    assert covered[True] / 60 > COVERED - 0.1
    assert covered[False] > 0  # an interval that holds everything says nothing


@pytest.mark.parametrize(
    "matrix", [[[5, 0], [0, 7]], [[3, 0, 0], [1, 0, 0], [0, 0, 0]], [[0, 4], [4, 0]], np.diag([9] * 30).tolist()]
)
def test_classes_that_are_missing_or_never_named_do_no_harm(matrix: list[list[int]]) -> None:
    found = intervals(np.array(matrix))
    assert all(0 <= low <= high <= 1 for low, high in found.values())
    assert found == intervals(np.array(matrix))  # drawn from a seed
