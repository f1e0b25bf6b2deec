"""Whole networks: what to expect of training one, from what such trainings gained elsewhere and from a trial.

What a whole network gains is told beside what it starts from, a head on the deepest frozen features, or for random
weights the best probe on a random trunk. Elsewhere it gained much the same share of the errors that there were, and
more where shallower depths knew what the deepest had lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tlx.advice.evidence import Evidence
from tlx.advice.expected import Expected, Experience, scatter
from tlx.advice.frozen import Prospect
from tlx.advice.strategy import WHOLE
from tlx.advice.trial import Trial

INDIFFERENT = 0.005  # what a whole network has to be better by, to be advised
AHEAD = 5  # times what shallower depths are ahead by: half of that is as usual a gain as a tenth of the errors
DISAGREE = 0.7  # images about which a whole network and a frozen trunk differ, as a share of the latter's errors


def expect_whole(kind: str, prospect: Prospect, trials: Sequence[Trial]) -> Expected:
    """Return what to expect of training the whole network."""
    base, gain = prospect.best, gained(kind, prospect, trials)
    accuracy = min(max(base.accuracy + gain.accuracy, 0.0), 1.0)
    return Expected(accuracy, math.hypot(base.deviation, gain.deviation))


def gained(kind: str, prospect: Prospect, trials: Sequence[Trial]) -> Expected:
    """Return what it is expected to gain over the best frozen trunk."""
    model, begun, images = prospect.known[kind], start(kind, prospect), prospect.evidence.images * prospect.times
    unit = scatter(begun)
    more = float(np.dot(model["weights"], terms(kind, begun, images, ahead(prospect))))
    gain, deviation = begun + more - prospect.best.accuracy, unit * model["deviation"]
    trial = best_trial(kind, trials)
    if trial is None or not deviation:
        return Expected(gain, deviation)
    trust = 1 / deviation**2, 1 / _off(trial.standard_error**2, unit * model["apart"], trial.share)
    return Expected((trust[0] * gain + trust[1] * trial.gain) / sum(trust), 1 / math.sqrt(sum(trust)))


def start(kind: str, prospect: Prospect) -> float:
    """Return the accuracy that a whole network starts from."""
    evidence = prospect.evidence
    if kind == "scratch":
        moved = prospect.moved  # images from elsewhere are harder for random features as well
        return max(evidence.random.rows[evidence.random.best].accuracy + moved.odds * moved.harder, 0.0)
    return prospect.frozen[len(evidence.profile.rows) - 1].accuracy


def ahead(prospect: Prospect) -> float:
    """Return by how much a head on the best of the shallower depths is expected to be ahead of one on the deepest."""
    *shallower, deepest = (one.accuracy for one in prospect.frozen[: len(prospect.evidence.profile.rows)])
    return max(shallower, default=deepest) - deepest


def terms(kind: str, begun: float, images: float, ahead: float) -> np.ndarray:
    """Return what a gain is made of: a share of the errors that there are, alike for all, and by the number of images.

    And what shallower depths are ``ahead`` by. For random weights, shares of what a probe can do with them instead.
    """
    room = begun if kind == "scratch" else 1 - begun
    shares = [room, room * math.log10(max(images, 1) / 1000)]
    return np.array(shares if kind == "scratch" else [*shares, AHEAD * ahead])


def worth_of_trial(kind: str, evidence: Evidence, known: Experience, judged: int, share: float = 1.0) -> float:
    """Return by how much the accuracy of what is advised is expected to rise by a trial judged by so many images.

    It is worth something as far as it may change the verdict (the expected value of information). ``share``: images
    that it sees, of those that the whole training would see.
    """
    prospect = Prospect(evidence, known)
    gain = gained(kind, prospect, ())
    if not gain.deviation:
        return 0.0
    apart = scatter(start(kind, prospect)) * known[kind]["apart"]
    error = math.sqrt(_off(DISAGREE * (1 - prospect.best.accuracy) / max(judged, 1), apart, share))
    moves = gain.deviation**2 / math.hypot(gain.deviation, error)  # deviation of what will then be expected
    short = INDIFFERENT - gain.accuracy
    tail = 0.5 * math.erfc(short / moves / math.sqrt(2))
    told = moves * math.exp(-((short / moves) ** 2) / 2) / math.sqrt(2 * math.pi) - short * tail
    return told - max(-short, 0.0)


def best_trial(kind: str, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that tells most of a kind: its own, else that from the probe on."""
    own = {trial.kind: trial for trial in trials}
    return own.get(kind) or (own.get(WHOLE[0]) if kind != "scratch" else None)


def _off(own: float, apart: float, share: float) -> float:
    """Return the variance of a trial's gain, of its ``own`` and of what it lies ``apart`` from whole trainings.

    A trial that sees a part of what the whole training sees tells so much less.
    """
    return own + apart**2 / max(share, 1e-3)
