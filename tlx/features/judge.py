"""Judge: what validation data says of a head, and which of several it chooses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

from tlx.features.bank import Bank
from tlx.features.chunks import classify
from tlx.features.solution import Row
from tlx.features.temperature import fit_sharpness
from tlx.network.neighbours import NEVER

RISES = 3  # of the validation loss in a row, after which there is no turning back


def judged(logits: torch.Tensor, labels: np.ndarray) -> Row:
    """Return the mean cross entropy (nats) and the accuracy of logits (N, K) on labels (N,)."""
    truth = torch.from_numpy(labels)
    loss, accuracy = F.cross_entropy(logits, truth), (logits.argmax(1) == truth).float().mean()
    return {"val_loss": float(loss), "val_accuracy": float(accuracy)}


def best_of(rows: Sequence[Row]) -> int:
    """Return the index of the row with the lowest validation loss; of equal ones, the first."""
    return min(range(len(rows)), key=lambda index: rows[index]["val_loss"])


def risen(rows: Sequence[Row]) -> bool:
    """Whether the validation loss has risen so often in a row that a path may end."""
    last = [row["val_loss"] for row in rows[-RISES - 1 :]]
    return len(last) > RISES and all(before < after for before, after in pairwise(last))


def among_all(
    weight: np.ndarray, bias: np.ndarray, present: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give the classes without training images a row too, by which they are never predicted.

    ``weight`` (P, D) and ``bias`` (P,) are of the classes ``present`` (P,); returns (K, D) and (K,). The rows are
    centred, which changes no probability: wherever the features are, some logit is not far below zero.
    """
    whole, start = np.zeros((num_classes, weight.shape[1])), np.full(num_classes, NEVER)
    whole[present], start[present] = weight - weight.mean(0), bias - bias.mean()
    return whole, start


def calibrated(
    weight: np.ndarray, bias: np.ndarray, present: np.ndarray, num_classes: int, val: Bank
) -> tuple[np.ndarray, np.ndarray, Row]:
    """Turn scores into logits, by the one factor that suits validation data best; return the head and its row."""
    scores = classify(val.features, weight - weight.mean(0), bias - bias.mean())
    place = np.full(num_classes, -1)
    place[present] = np.arange(len(present))
    targets = torch.from_numpy(place[val.labels])
    sharpness = fit_sharpness(scores[targets >= 0], targets[targets >= 0])
    logits = torch.full((len(scores), num_classes), NEVER)
    logits[:, torch.from_numpy(present)] = sharpness * scores
    head = among_all(sharpness * weight, sharpness * bias, present, num_classes)
    return *head, {**judged(logits, val.labels), "sharpness": sharpness}
