"""Frozen trunks: the test accuracy to be expected of a head on each, from what its probes do.

A probe is cross-validated, and one that is trained on the whole sample is judged by validation images, which may be
from elsewhere, as test images may be. Both are weighed by their uncertainty, as normal distributions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tlx.advice.evidence import Evidence, Judged
from tlx.advice.expected import Expected, Experience, on_tests, scatter
from tlx.features.learning_curve import Curve

SHIFTED, SHIFT = 0.1, 0.15  # how often validation and test images are from elsewhere, and by how much that tells
UNEVEN = 0.3  # by how much that differs between depths, as a share of it

Told = tuple[Judged, Judged]  # by cross-validation, and by validation images


@dataclass(frozen=True)
class Prospect:
    """Evidence, seen by some experience: what frozen trunks are expected to do with so many times the images."""

    evidence: Evidence
    known: Experience
    times: float = 1.0

    @cached_property
    def moved(self) -> Shift:
        """Whether validation images are from elsewhere."""
        return shift(heard(self.evidence), self.known["frozen"]["row"])

    @cached_property
    def frozen(self) -> list[Expected]:
        """What to expect of every frozen trunk, as ``evidence.frozen`` has them."""
        further = 1 + math.log2(self.times)  # the more is extrapolated
        told = heard(self.evidence, self.times)
        found = [weigh(*one, self.moved, self.known["frozen"]) for one in told]
        return [on_tests(Expected(one.accuracy, further * one.deviation), self.evidence.tests) for one in found]

    @property
    def best(self) -> Expected:
        """What to expect of the best of them."""
        return max(self.frozen, key=lambda one: one.accuracy)


def heard(evidence: Evidence, times: float = 1.0) -> list[Told]:
    """Return what is told of every frozen trunk, as of one that is trained on all images."""
    sampled, folds = evidence.profile.images, evidence.profile.folds
    later = evidence.images * times
    found = []
    for row, judged in zip(evidence.frozen, evidence.judged, strict=True):
        probed = _grown(row.accuracy, sampled * (folds - 1) / folds, later, evidence.curve)
        seen = _grown(judged.accuracy, sampled, later, evidence.curve)
        found.append((Judged(probed, row.standard_error), Judged(seen, judged.standard_error)))
    return found


@dataclass(frozen=True)
class Shift:
    """Whether validation images are from elsewhere than training images (``odds``), and if so, by how much harder.

    ``trust``: how much of what they say beyond cross-validation is taken for that, the rest being the images' luck.
    """

    odds: float
    harder: float
    trust: float


def shift(told: Sequence[Told], row: float) -> Shift:
    """Find out whether validation images are from elsewhere, by all depths together.

    The more what they say lies from what cross-validation ``told``, beyond the errors of both, the likelier (a mixture
    of two normal distributions). ``row``: how far a single depth lies from what is told of it.
    """
    probed, seen = (np.array([pair[side].accuracy for pair in told]) for side in (0, 1))
    errors = [np.mean([pair[side].standard_error ** 2 for pair in told]) for side in (0, 1)]
    beside = float(np.mean([row**2 * scatter(one.accuracy) for pair in told for one in pair]))
    noise = float(sum(errors)) + 2 * beside / len(told)  # images are the same at every depth, and so are their errors
    between = float((seen - probed).mean())
    alike = (1 - SHIFTED) * _density(between**2, noise)
    elsewhere = SHIFTED * _density(between**2, noise + SHIFT**2)
    trust = SHIFT**2 / (SHIFT**2 + noise)
    return Shift(elsewhere / (alike + elsewhere), trust * between, trust)


def weigh(probed: Judged, seen: Judged, moved: Shift, apart: Mapping[str, float]) -> Expected:
    """Weigh what cross-validation says and what validation images say, by how sure either is.

    It is done twice, as of images of the same kind and as of images from elsewhere, which cross-validation is moved to;
    the mean of both is returned, and the deviation of the likelier. ``apart``: how far a test lies from that, a single
    depth of a task (``row``, where every other image is right; less far, where nearly all are or hardly any) and all of
    them together (``level``). And by how many standard errors it is worse (``less``): the best of several was lucky
    with the images that it was found by. What images from elsewhere make of the depths differs, by a share of what they
    make of all.
    """
    a, b = (one.standard_error**2 + apart["row"] ** 2 * scatter(one.accuracy) for one in (probed, seen))
    found = []
    for harder, trust in ((0.0, 0.0), (moved.harder, moved.trust)):
        mine = b / (a + (UNEVEN * harder) ** 2 + b)
        kept = mine * (1 - trust)  # of the luck that cross-validation had
        error = math.hypot(kept * probed.standard_error, (1 - kept) * seen.standard_error)
        found.append((mine * (probed.accuracy + harder) + (1 - mine) * seen.accuracy, error))
    (same, error), (other, further) = found
    odds = moved.odds
    mean = (1 - odds) * same + odds * other
    unsure = 0.0
    if odds > 0.5:
        error, unsure = further, math.sqrt(odds * (1 - odds)) * (other - same)
    accuracy = min(max(mean - apart["less"] * error, 0.0), 1.0)
    return Expected(accuracy, math.hypot(error, unsure, apart["level"]))


def _density(square: float, variance: float) -> float:
    """Return how likely a deviation is, given as its square, by a normal distribution."""
    return math.exp(-square / (2 * variance)) / math.sqrt(variance)


def _grown(accuracy: float, trained: float, later: float, curve: Curve | None) -> float:
    """Return the accuracy of a probe with more images than it was trained on, by the learning curve's slope."""
    if curve is None:
        return accuracy
    gained = max(curve.accuracy(max(later, trained)) - curve.accuracy(trained), 0.0)
    return min(max(accuracy + gained, 0.0), 1.0)
