"""Evidence made up for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from tlx.advice.cost import Timing
from tlx.advice.evidence import Evidence, Judged, Similarity
from tlx.advice.strategy import Strategy, strategies
from tlx.advice.trial import Trial
from tlx.config.cases import CASES, Auto, read_auto
from tlx.features.learning_curve import Curve, Point
from tlx.features.profile import Place, Profile, Row

TIMING = Timing(read=0.001, drawn=0.001, forward=0.002, step=0.006, activations=10**6, parameters=10**6)
KNOWN: dict[str, Any] = {
    "frozen": {"row": 0.02, "less": 0.0, "level": 0.01},
    "lp_ft": {"weights": [0.0, 0.1, 0.0], "deviation": 0.2, "apart": 0.0},
    "full": {"weights": [-0.02, 0.1, 0.0], "deviation": 0.2, "apart": 0.0},
    "scratch": {"weights": [-0.5, 0.3], "deviation": 0.2, "apart": 0.0},
}


def row(index: int, accuracy: float, last: bool = False, kind: str = "stage") -> Row:
    width = 16 * (index + 1)
    stage = index if kind == "stage" else None
    place = Place(kind, f"layer{index}", stage, width, 1000 * (index + 1), 10**6 * (index + 1), head=last)
    return Row(place, accuracy, 0.01, 0.0, 0.1)


def profile(accuracies: Sequence[float], together: float | None = None, images: int = 100) -> Profile:
    rows = tuple(row(i, a, i == len(accuracies) - 1) for i, a in enumerate(accuracies))
    best = int(np.argmax(accuracies))
    own = None if together is None else row(len(rows), together, kind="all")
    return Profile(rows, best, best, images, 5, 1, None, own)


def evidence(
    accuracies: Sequence[float] = (0.5, 0.7, 0.8),
    together: float | None = 0.79,
    random: Sequence[float] = (0.4, 0.45, 0.4),
    images: int = 200,
    worth: float = 0.6,
    tests: int = 10**9,
) -> Evidence:
    points = (Point(images / 2, max(accuracies) - 0.05, 0.01), Point(images, max(accuracies), 0.01))
    floor, exponent = 0.5 * (1 - max(accuracies)), 0.5
    scale = floor * images**exponent
    curve = Curve(points, np.array([[floor, scale, exponent]]))
    similar = Similarity(worth, 1.0, max(accuracies), max(random), images)
    found = profile(accuracies, together, images)
    judged = tuple(Judged(one.accuracy, 0.01) for one in [*found.rows, *([found.own] if found.own else [])])
    each = images // 10, images // 10
    return Evidence(images, 10, each, 0, 0, found, profile(random), (0.1,), similar, curve, judged, 100, tests)


@cache
def auto(epochs_given: bool = False) -> Auto:
    plain = {case: plain_of(case) for case in CASES}
    return replace(read_auto({"cases": plain, "epochs_given": epochs_given}), words=("data=folder", "data.root=a b"))


def plain_of(case: str) -> dict[str, Any]:
    whole = case.startswith("large")
    return {
        "backbone": {"kind": "timm", "name": "test_resnet", "image_size": 32},
        "init": {"kind": "scratch" if case == "large_different" else "pretrained"},
        "cut": {"kind": "early" if case == "small_different" else "head"},
        "freeze": {"kind": "none" if whole else "trunk"},
        "head": {"kind": "linear"}, "features": {"kind": "bank"}, "solver": {"kind": "lbfgs"},
        "data": {"kind": "digits", "per_class": 6}, "augment": {"kind": "light" if whole else "none"},
        "optimizer": {"kind": "adamw"}, "schedule": {"kind": "cosine"}, "regularizer": {"kind": "standard"},
        "trainer": {"kind": "lightning", "accelerator": "cpu", "max_epochs": 4},
        "callbacks": {"kind": "standard", "progress": False}, "logger": {"kind": "csv"}, "case": case,
    }  # fmt: skip


def every(known: Evidence) -> list[Strategy]:
    return strategies([r.place for r in known.profile.rows], known.images, auto())


def trial(kind: str, gain: float, error: float = 0.01, share: float = 0.5) -> Trial:
    return Trial(kind, 100, 100, 10, 1, share, 0.8 + gain, gain, error, 1.0)
