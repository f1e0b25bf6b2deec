"""Frozen trunks: the test accuracy to be expected of a head on each, from what its probes do.

A probe is cross-validated, and one that is trained on the whole sample is judged by validation images, which may be
from elsewhere, as test images may be. Both are weighed by their uncertainty, as normal distributions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tlx.advice.evidence import Evidence, Judged, standard_error
from tlx.advice.expected import Expected, Experience, on_tests, scatter
from tlx.features.learning_curve import Curve

SHIFTED, SHIFT = 0.1, 0.15  # how often validation and test images are from elsewhere, and by how much that tells
UNEVEN = 0.3  # by how much that differs between depths, as a share of it

Told = tuple[Judged, Judged]  # by cross-validation, and by validation images


def expect_frozen(evidence: Evidence, known: Experience, times: float = 1.0) -> list[Expected]:
    """Return what to expect of every frozen trunk, as ``evidence.frozen`` has them, with so many times the images."""
    apart = known["frozen"]
    moved = shift(heard(evidence), apart["row"])
    further = 1 + math.log2(times)  # the more is extrapolated
    found = [weigh(*told, moved, apart) for told in heard(evidence, times)]
    return [on_tests(Expected(one.accuracy, further * one.deviation), evidence.tests) for one in found]


def heard(evidence: Evidence, times: float = 1.0) -> list[Told]:
    """Return what is told of every frozen trunk, as of one that is trained on all images."""
    sampled, folds = evidence.profile.images, evidence.profile.folds
    later = evidence.images * times
    found = []
    for row, judged in zip(evidence.frozen, evidence.judged, strict=True):
        probed = _grown(row.accuracy, sampled * (folds - 1) / folds, later, evidence.curve)
        seen = _grown(judged.accuracy, sampled, later, evidence.curve)
        error = max(row.standard_error, standard_error(row.accuracy, sampled))
        found.append((Judged(probed, error), Judged(seen, judged.standard_error)))
    return found


def shift(told: Sequence[Told], row: float) -> Expected:
    """Return by how much validation images are harder than training images, over all depths, and how sure that is.

    They may be of the same kind, or from elsewhere: the more what they say lies from what cross-validation ``told``,
    beyond the errors of both, the likelier (a mixture of two normal distributions). The mean of both is returned, and
    the deviation of it where elsewhere is the likelier; else that of the same kind, which is none. ``row``: how far a
    single depth lies from what is told of it.
    """
    probed, seen = (np.array([pair[side].accuracy for pair in told]) for side in (0, 1))
    errors = [np.mean([pair[side].standard_error ** 2 for pair in told]) for side in (0, 1)]
    beside = float(np.mean([(row * scatter(one.accuracy)) ** 2 for pair in told for one in pair]))
    noise = float(sum(errors)) + 2 * beside / len(told)  # images are the same at every depth, and so are their errors
    between = float((seen - probed).mean())
    alike = (1 - SHIFTED) * _density(between**2, noise)
    elsewhere = SHIFTED * _density(between**2, noise + SHIFT**2)
    odds, trust = elsewhere / (alike + elsewhere), SHIFT**2 / (SHIFT**2 + noise)
    mean = trust * between
    deviation = math.sqrt(odds * (trust * noise + (1 - odds) * mean**2)) if odds > 0.5 else 0.0
    return Expected(odds * mean, deviation)


def weigh(probed: Judged, seen: Judged, moved: Expected, apart: Mapping[str, float]) -> Expected:
    """Weigh what cross-validation says, moved by the shift, and what validation images say, by how sure either is.

    ``apart``: how far a test lies from that where every other image is right, a single depth of a task (``row``) and
    all of them together (``level``); where nearly all are, or hardly any, it lies less far. And by how many standard
    errors it is worse (``less``): the best of several was lucky with the images that it was found by. What images from
    elsewhere make of the depths differs, by a share of what they make of all.
    """
    a = probed.standard_error**2 + (apart["row"] * scatter(probed.accuracy)) ** 2 + (UNEVEN * moved.accuracy) ** 2
    b = seen.standard_error**2 + (apart["row"] * scatter(seen.accuracy)) ** 2
    mine = b / (a + b)
    error = math.hypot(mine * probed.standard_error, (1 - mine) * seen.standard_error)
    accuracy = mine * (probed.accuracy + moved.accuracy) + (1 - mine) * seen.accuracy - apart["less"] * error
    accuracy = min(max(accuracy, 0.0), 1.0)
    return Expected(accuracy, math.hypot(error, moved.deviation, apart["level"] * scatter(accuracy)))


def _density(square: float, variance: float) -> float:
    """Return how likely a deviation is, given as its square, by a normal distribution."""
    return math.exp(-square / (2 * variance)) / math.sqrt(variance)


def _grown(accuracy: float, trained: float, later: float, curve: Curve | None) -> float:
    """Return the accuracy of a probe with more images than it was trained on, by the learning curve's slope."""
    if curve is None:
        return accuracy
    gained = max(curve.accuracy(max(later, trained)) - curve.accuracy(trained), 0.0)
    return min(max(accuracy + gained, 0.0), 1.0)
