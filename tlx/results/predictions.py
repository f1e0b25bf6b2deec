"""Predictions: what a run's network said of every validation and test image, in ``predictions.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from tlx.errors import InputError
from tlx.results.spreadsheet import as_csv, uncell
from tlx.storage import read_text, write_text

COLUMNS = ("split", "image", "label", "predicted", "probability", "label_probability")


@dataclass(frozen=True)
class Predicted:
    """What a network says of N images: names, true and predicted classes (N,), and the probabilities of both (N,)."""

    names: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    label_probability: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each image is predicted rightly."""
        matches: np.ndarray = self.labels == self.predicted
        return matches


class Named(Protocol):
    """Images that have names."""

    def name(self, index: int) -> str:
        """Return a name that tells an image apart."""


def predicted(images: Named, labels: torch.Tensor, logits: torch.Tensor, temperature: float) -> Predicted:
    """Read logits (N, K) as predictions; probabilities are those at ``temperature``."""
    shares = (logits.float() / temperature).softmax(1)
    top, best = shares.max(1)
    names = [images.name(index) for index in range(len(labels))]
    return Predicted(names, labels.numpy(), best.numpy(), top.numpy(), shares.gather(1, labels[:, None])[:, 0].numpy())


def write(path: Path, splits: Mapping[str, Predicted], classes: Sequence[str]) -> None:
    """Write the predictions of some splits."""
    write_text(path, as_csv(COLUMNS, _rows(splits, classes)))


def _rows(splits: Mapping[str, Predicted], classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    for split, one in splits.items():
        for index, name in enumerate(one.names):
            yield {
                "split": split,
                "image": name,
                "label": classes[one.labels[index]],
                "predicted": classes[one.predicted[index]],
                "probability": f"{one.probability[index]:.6f}",
                "label_probability": f"{one.label_probability[index]:.6f}",
            }


def read(path: Path, classes: Sequence[str]) -> dict[str, Predicted]:
    """Read the predictions of the splits there are.

    Raises:
        InputError: The file is missing or damaged, or knows other classes.
    """
    places = {name.replace("\r", " "): index for index, name in enumerate(classes)}
    found: dict[str, list[tuple[str, int, int, float, float]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(read_text(path), newline="")):
            label, best = places[uncell(row["label"])], places[uncell(row["predicted"])]
            told = (uncell(row["image"]), label, best, float(row["probability"]), float(row["label_probability"]))
            found.setdefault(row["split"], []).append(told)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error})", "measure the run again") from None
    splits = {}
    for split, rows in found.items():
        names, *columns = zip(*rows, strict=True)
        splits[split] = Predicted(list(names), *(np.array(column) for column in columns))
    return splits
