"""Metrics of a classifier, all from torchmetrics; fractions, not percent."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

BINS = 15  # of the calibration error
VALIDATED = ("loss", "accuracy", "balanced_accuracy", "macro_f1")  # of every epoch; what may be monitored


class BalancedAccuracy(MulticlassAccuracy):
    """The mean recall of the classes that have images; torchmetrics' own counts one that is only predicted, as 0."""

    def compute(self) -> torch.Tensor:
        """Return the mean recall."""
        right, _, _, missed = self._final_state()
        images = right + missed
        return (right / images.clamp(min=1)).sum() / (images > 0).sum().clamp(min=1)


def scores(num_classes: int, checked: bool = True) -> MetricCollection:
    """Create the numbers that every table shows; ``checked``: look at every batch's values, which waits for a device.

    ``accuracy`` counts images alike, ``balanced_accuracy`` classes alike (the mean recall of those that have images);
    ``macro_f1`` is the mean F1 of the classes; ``top5`` exists where there are more than five classes.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=checked),
        "balanced_accuracy": BalancedAccuracy(num_classes, average="macro", validate_args=checked),
        "macro_f1": MulticlassF1Score(num_classes, average="macro", validate_args=checked),
    }
    if num_classes > 5:
        metrics["top5"] = MulticlassAccuracy(num_classes, average="micro", top_k=5, validate_args=checked)
    # Left to itself, the collection takes metrics whose first batch counts alike for one: top5 would be accuracy.
    groups = [["accuracy"], ["balanced_accuracy", "macro_f1"], *([["top5"]] if "top5" in metrics else [])]
    return MetricCollection(metrics, compute_groups=groups)


def measure(logits: torch.Tensor, labels: torch.Tensor, classes: list[str]) -> dict[str, Any]:
    """Measure predictions: logits (N, K) and labels (N,).

    Returns the numbers of :func:`scores`, ``loss`` (mean cross entropy, nats), ``calibration_error``,
    ``per_class_accuracy`` by class name, and ``confusion_matrix`` (rows: true classes).
    """
    count = len(classes)
    predicted = logits.float().softmax(1)
    measured: dict[str, Any] = {"loss": float(F.cross_entropy(logits.float(), labels))}
    measured |= {name: float(value) for name, value in scores(count)(predicted, labels).items()}
    measured["calibration_error"] = calibration_error(predicted, labels)
    matrix = MulticlassConfusionMatrix(count)(predicted, labels)
    recall = matrix.diag() / matrix.sum(1).clamp(min=1)
    measured["per_class_accuracy"] = dict(zip(classes, recall.tolist(), strict=True))
    measured["confusion_matrix"] = matrix.tolist()
    return measured


def calibration_error(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """Measure the expected calibration error of probabilities (N, K) over 15 bins (Guo et al., 2017)."""
    return float(MulticlassCalibrationError(predicted.shape[1], n_bins=BINS, norm="l1")(predicted, labels))


def tempered(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> dict[str, float]:
    """Measure what a temperature changes: ``loss`` and ``calibration_error``, as :func:`measure` does."""
    scaled = logits.float() / temperature
    error = calibration_error(scaled.softmax(1), labels)
    return {"loss": float(F.cross_entropy(scaled, labels)), "calibration_error": error}
