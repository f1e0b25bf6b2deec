"""Temperature: scores become probabilities by one factor, fitted on validation data."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from tlx.network.neighbours import NEVER

STEPS = 60  # halvings of an interval: to the last bit
FOLDS = 5
WIDEST = 15.0  # the factor of scores of size 1 lies between exp(-15) and exp(15)


def fit_sharpness(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the factor a > 0 for which ``a * scores`` (N, K) has the lowest cross entropy on ``labels`` (N,).

    It is one over the temperature of Guo et al. (2017). One image more, of no class in particular, keeps it finite
    where all are predicted rightly, as in Platt (1999). Where scores tell
    nothing, the factor is 1.
    """
    z = scores.double()
    z = z - z.mean(1, keepdim=True)
    size = float(z.square().mean().sqrt()) if z.numel() else 0.0
    if size == 0:
        return 1.0
    z = z / size
    target = z.gather(1, labels[:, None]).mean() * len(z) / (len(z) + 1)  # the image more adds 0: scores are centred
    low, high = -WIDEST, WIDEST
    for _ in range(STEPS):  # the loss is convex in the factor: its slope has one root, or is positive throughout
        middle = (low + high) / 2
        slope = float((F.softmax(z * math.exp(middle), 1) * z).sum(1).mean() - target)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp((low + high) / 2) / size


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature T > 0 for which ``softmax(logits / T)`` suits validation labels (N,) best (Guo, 2017).

    Where temperatures that were fitted without a fifth of the images do not suit that fifth better than 1 does, it is
    1: few images tell little. Classes that are never predicted, for they had no training images, have no say.
    """
    possible = logits.amax(0) > NEVER / 2
    known = possible[labels]
    if not known.any():
        return 1.0
    place = (possible.cumsum(0) - 1)[labels[known]]
    scores = logits[known][:, possible].float()
    held = torch.arange(len(place)) % FOLDS
    folds = [held == fold for fold in range(min(FOLDS, len(place)))]
    apart = sum(_loss(fit_sharpness(scores[~out], place[~out]) * scores[out], place[out]) for out in folds)
    return 1 / fit_sharpness(scores, place) if apart < _loss(scores, place) else 1.0


def _loss(scores: torch.Tensor, labels: torch.Tensor) -> float:
    return float(F.cross_entropy(scores, labels, reduction="sum"))
