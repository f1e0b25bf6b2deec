"""Parity: whether an export says what the network says that it was made of, on real images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlx.errors import ParityError

TOLERANCE = 0.01  # of a probability; what is measured is a thousand times less


@dataclass(frozen=True)
class Parity:
    """How far two sets of probabilities lie apart: the largest difference, and how many labels agree."""

    images: int
    which: str
    difference: float
    agreeing: int

    @property
    def words(self) -> str:
        """Say it in a line."""
        labels = "all labels agree" if self.agreeing == self.images else f"labels agree on {self.agreeing}"
        return f"{self.images} {self.which}: probabilities differ by at most {self.difference:.2g}, {labels}"


def compared(expected: np.ndarray, found: np.ndarray, which: str) -> Parity:
    """Compare probabilities (N, K).

    Raises:
        ParityError: They differ by more than ``TOLERANCE``; labels that disagree within it are a tie.
    """
    difference = float(np.abs(expected - found).max()) if expected.shape == found.shape else float("nan")
    agreeing = int((expected.argmax(1) == found.argmax(1)).sum())
    parity = Parity(len(expected), which, difference, agreeing)
    if not difference <= TOLERANCE:
        what = f"the export does not say what the network says; {parity.words}"
        raise ParityError(what, "nothing was written; please report it with the network's config")
    return parity
