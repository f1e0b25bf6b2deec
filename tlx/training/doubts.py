"""Doubts: what the cheap evidence of a run says against its own case, with the override that would mend it."""

from __future__ import annotations

from typing import Any

from tlx.config.groups import AutoCut, ScratchInit, TrunkFreeze
from tlx.config.roots import TrainConfig
from tlx.results import profile as profiles

MANY = 5000  # training images with which a network that trains whole is worth a look
FEW = 2000  # with which random weights seldom come near pretrained ones
LOSS, ERRORS = 0.05, 2.0  # of a cut against the best depth: a share of the images, and so many standard errors


def doubts(config: TrainConfig, images: int, profile: dict[str, Any] | None) -> list[str]:
    """Say what speaks against the choice of a run with so many training images; ``profile`` is its own, or None."""
    found = []
    if isinstance(config.freeze, TrunkFreeze) and images >= MANY:
        what = f"{images:,} training images, and the head alone trains"
        found.append(f"{what}; whole networks often gain with so many: case=large_similar, or case=auto measures it")
    if isinstance(config.init, ScratchInit) and images < FEW and config.case == "large_different":
        what = f"{images:,} training images for a whole network from random weights"
        found.append(f"{what}; case=small_similar needs fewer, and case=auto measures it")
    if profile is not None and not isinstance(config.cut, AutoCut):
        best = profile["rows"][profile["best"]]
        own = profile["own"] or profile["rows"][profile["cut"]]
        error = (own["standard_error"] ** 2 + best["standard_error"] ** 2) ** 0.5
        if own["loss"] > max(LOSS, ERRORS * error):
            points = f"{100 * own['loss']:.0f} points"
            found.append(
                f"this cut loses {points} of a probe's accuracy to {profiles.place(best)}; mend it by cut=auto"
            )
    return found
