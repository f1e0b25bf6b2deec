"""Evidence: what can be known cheaply about some images and a backbone, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tlx.config.groups import AutoCut, ScratchInit
from tlx.config.roots import TrainConfig
from tlx.data.source import Source
from tlx.features.learning_curve import Curve, Point, learning_curve, nested
from tlx.features.logme import logme
from tlx.features.probe import cross_validate, error_of
from tlx.features.profile import Profile, Row, probe_depths
from tlx.training.survey import Survey

LOOKED = 2000  # training images that are looked at, at most
FEW = 1000  # of which a random trunk sees so many, at most; where there are more, probes are trained on half of them
JUDGES = 500  # validation images that are looked at, at most

STEPS = 4  # of what is looked at before any trial: each is told when it begins

Progress = Callable[[int, int, str], None]  # is told how many steps are done, of how many, and what comes
Look = Callable[..., Survey]  # reads so many training images at every depth of a config's backbone


@dataclass(frozen=True)
class Similarity:
    """How much of what the network learned on is of use here, 0 to 1: ``worth`` times ``depth``.

    ``worth``: the share of the errors of probes on a random trunk that probes on the pretrained one do not make.
    ``depth``: how deep the shallowest depth lies that probes as well as the best, as a share of all depths.
    ``pretrained`` and ``random``: what is right by the best single depth of either, with as many ``images``.
    """

    worth: float
    depth: float
    pretrained: float
    random: float
    images: int

    @property
    def value(self) -> float:
        """The product."""
        return self.worth * self.depth


@dataclass(frozen=True)
class Judged:
    """A share of validation images, and its standard error."""

    accuracy: float
    standard_error: float


@dataclass(frozen=True)
class Evidence:
    """Facts about the training images, and what probes make of a sample of them.

    Args:
        images: How many train; ``per_class``: the fewest and the most of a class.
        left_out: Images that cannot be used; ``copies``: those that repeat another of their split, where that is known.
        profile: The pretrained trunk's depths; ``own`` is the row of all depths together, where there are several.
        random: The same of random weights.
        logme: The score of each depth's features.
        curve: Of probes on the best of them; None where there are too few images for one.
        judged: What a probe that is trained on the whole sample gets right of validation images, at every depth and at
            all of them together, with its standard error.
        judges: How many validation images those are.
        tests: How many test images there are; none is looked at.
    """

    images: int
    classes: int
    per_class: tuple[int, int]
    left_out: int
    copies: int | None
    profile: Profile
    random: Profile
    logme: tuple[float, ...]
    similarity: Similarity
    curve: Curve | None
    judged: tuple[Judged, ...]
    judges: int
    tests: int

    @property
    def frozen(self) -> list[Row]:
        """The row of every frozen strategy, in the order of ``strategies``."""
        return frozen(self.profile)

    @property
    def best(self) -> Row:
        """The best of them; if equal, the shallowest."""
        return best(self.profile)

    def plain(self) -> dict[str, Any]:
        """Return what ``advice.json`` tells of it."""
        return {
            "images": self.images,
            "classes": self.classes,
            "per_class": {"fewest": self.per_class[0], "most": self.per_class[1]},
            "left_out": self.left_out,
            "copies": self.copies,
            "profile": self.profile.plain(),
            "random_profile": self.random.plain(),
            "logme": list(self.logme),
            "similarity": {"value": self.similarity.value, **asdict(self.similarity)},
            "learning_curve": self.curve.plain() if self.curve else None,
            "judged": [asdict(one) for one in self.judged],
            "judges": self.judges,
            "tests": self.tests,
        }


def frozen(profile: Profile) -> list[Row]:
    """Return the rows of all frozen trunks: of every depth, and of all together where there are several."""
    return [*profile.rows, *([profile.own] if profile.own else [])]


def best(profile: Profile) -> Row:
    """Return the best of them; if equal, the shallowest."""
    return max(frozen(profile), key=lambda row: row.accuracy)


def columns(survey: Survey, profile: Profile, chosen: Row | None = None) -> np.ndarray:
    """Return which columns of a survey's features are those of a frozen trunk, of the best if none is given."""
    place = (chosen or best(profile)).place
    parts = {row.place: part for row, (_, part) in zip(profile.rows, survey.opened.places, strict=True)}
    taken = [parts[place]] if place in parts else [*parts.values()]
    return np.concatenate([np.arange(part.start, part.stop) for part in taken])


def gather(
    config: TrainConfig, source: Source, look: Look, progress: Progress = lambda done, count, what: None
) -> tuple[Evidence, Survey]:
    """Look at a sample of the training images, by the pretrained weights and by random ones; return the former's too.

    Probes on random weights are compared with others that have seen as few images.

    Raises:
        InputError: Too few images; whatever is wrong with the backbone or its weights.
    """
    progress(0, STEPS, "images through every depth")
    survey = look(config, LOOKED, val=JUDGES)
    progress(1, STEPS, "images through random weights")
    random = look(replace(config, init=ScratchInit()), FEW, priced=False)
    progress(2, STEPS, "probes")
    labels = survey.source.train.labels
    settings = probing(len(source.train.labels))
    profile = _profile(survey, settings, config.seed)
    noise = probe_depths(random.found, random.source.train.labels, settings, config.seed)
    counts = np.bincount(source.train.labels, minlength=len(source.classes))
    evidence = Evidence(
        images=len(source.train.labels),
        classes=len(source.classes),
        per_class=(int(counts.min()), int(counts.max())),
        left_out=int(source.facts.get("left_out") or 0),
        copies=sum(repeated["within_splits"].values()) if (repeated := source.facts.get("duplicates")) else None,
        profile=profile,
        random=noise,
        logme=tuple(logme(features, labels) for _, features in survey.found),
        similarity=similarity(profile, _among(survey, profile, noise, settings, config.seed), noise),
        curve=learning_curve(
            survey.features[:, columns(survey, profile)], labels, config.seed, settings.folds, _last(profile)
        ),
        judged=tuple(_judged(survey, profile)),
        judges=len(survey.source.val.labels),
        tests=len(source.test.labels),
    )
    return evidence, survey


def probing(images: int) -> AutoCut:
    """Return how depths are probed where so many images train: of few, more are trained on, and more often."""
    return AutoCut(folds=5 if images <= FEW else 2, repeats=10)


def similarity(profile: Profile, right: float, random: Profile) -> Similarity:
    """Compare what is right by the best single depth of a pretrained trunk with what is by that of a random one."""
    chance = random.rows[random.best].accuracy
    worth = (right - chance) / (1 - chance) if chance < 1 else 0.0
    depth = (profile.auto + 1) / len(profile.rows)
    return Similarity(min(max(worth, 0.0), 1.0), depth, right, chance, random.images)


def _judged(survey: Survey, profile: Profile) -> Iterator[Judged]:
    """Judge a probe at every depth, and at all of them, by validation images, which may be from elsewhere.

    Each has the strength that cross-validation chose: few images that choose for themselves are right far too often.
    """
    assert survey.val is not None
    labels = np.concatenate([survey.source.train.labels, survey.source.val.labels])
    _, labels = np.unique(labels, return_inverse=True)
    first = len(survey.features)
    fold = np.full((len(labels), 1), -1)
    fold[first:] = 0
    both = np.concatenate([survey.features, survey.val])
    for row in frozen(profile):
        part = columns(survey, profile, row)
        right = cross_validate(both[:, part], labels, fold, row.strength).correct[first:, 0].astype(float)
        yield Judged(float(right.mean()), error_of(right, labels[first:]))


def _among(survey: Survey, profile: Profile, random: Profile, settings: AutoCut, seed: int) -> float:
    """Return how often the best single depth is right with as many images as the random trunk saw."""
    if profile.images <= random.images:
        return profile.rows[profile.best].accuracy
    labels = survey.source.train.labels
    few = nested(labels, 0, seed)[: random.images]
    place, features = survey.found[profile.best]
    return probe_depths([(place, features[few])], labels[few], settings, seed).rows[0].accuracy


def _last(profile: Profile) -> Point:
    """Return the point of the learning curve that all images are."""
    row = best(profile)
    return Point(profile.images * (profile.folds - 1) / profile.folds, row.accuracy, row.standard_error)


def _profile(survey: Survey, settings: AutoCut, seed: int) -> Profile:
    """Probe every depth, and all of them together."""
    found, labels = survey.found, survey.source.train.labels
    if len(found) == 1:
        return probe_depths(found, labels, settings, seed)
    last = found[-1][0]
    together = replace(
        last, kind="all", name="all depths", stage=None, width=sum(p.width for p, _ in found), head=False
    )
    return probe_depths(found, labels, settings, seed, together, np.hstack([features for _, features in found]))
