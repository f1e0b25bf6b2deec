"""Expected: an accuracy with its uncertainty, and the experience of other data sets that expectations rest on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "assets" / "advice.json"
COVERAGE = 1.645  # standard deviations on either side hold 90 % of a normal distribution
SURELY = 0.01  # nothing is right, or wrong, more often than 99 %, as far as its scatter is concerned

Experience = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """The accuracy to be expected on test images, or a difference of accuracies, and its standard deviation."""

    accuracy: float
    deviation: float

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 90 % interval."""
        reach = COVERAGE * self.deviation
        return max(0.0, self.accuracy - reach), min(1.0, self.accuracy + reach)


@cache
def experience() -> Experience:
    """Read what other data sets have taught (``python -m tests.benchmarks.advice.fit`` writes it)."""
    known: Experience = json.loads(FILE.read_text(encoding="utf-8"))
    return known


def scatter(accuracy: float) -> float:
    """Return the standard deviation of whether an image is right, beside that where every other one is."""
    share = min(max(accuracy, SURELY), 1 - SURELY)
    return 2 * math.sqrt(share * (1 - share))


def on_tests(one: Expected, tests: int) -> Expected:
    """Return what to expect on so many test images, of which more or fewer may happen to be easy."""
    return Expected(one.accuracy, math.hypot(one.deviation, scatter(one.accuracy) / 2 / math.sqrt(max(tests, 1))))
