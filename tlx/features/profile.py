"""The depth profile: how well a linear probe does at every depth of a backbone, and where that says to cut."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from tlx.config.groups import AutoCut, HeadCut, LayerCut, StageCut
from tlx.errors import InputError
from tlx.features.probe import Probe, cross_validate, deal, error_of
from tlx.network.cut import Point

MOST = 1000  # images are cross-validated in all repeats together, unless there are more
REMEMBERED = 32  # probes


@dataclass(frozen=True)
class Place:
    """A depth of a backbone: where it is, how wide its pooled features are, and what it costs to get there.

    ``head`` says whether its features are those that the network's own classifier reads.
    """

    kind: str
    name: str
    stage: int | None
    width: int
    parameters: int
    multiply_adds: int
    head: bool


@dataclass(frozen=True)
class Row:
    """A depth and its probe: cross-validated accuracy, its standard error, the share of images that the best depth
    gets right beyond it (paired, on the same images), and the L2 strength.
    """

    place: Place
    accuracy: float
    standard_error: float
    loss: float
    strength: float


@dataclass(frozen=True)
class Profile:
    """The rows from the input on, and the indices of the best one and of the one that ``cut=auto`` takes.

    ``cut`` is the index of the run's own depth; where that is none of the rows, ``own`` is its row.
    """

    rows: tuple[Row, ...]
    best: int
    auto: int
    images: int  # held out once each
    folds: int
    repeats: int
    cut: int | None = None
    own: Row | None = None

    def plain(self) -> dict[str, Any]:
        """Return the profile as JSON takes it."""
        rows = [_flat(row) for row in self.rows]
        return {**asdict(self), "rows": rows, "own": _flat(self.own) if self.own else None}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Profile:
        """Return the profile that ``plain`` was made of."""
        own = _unflat(plain["own"]) if plain["own"] else None
        return cls(**{**plain, "rows": tuple(map(_unflat, plain["rows"])), "own": own})


def _flat(row: Row) -> dict[str, Any]:
    plain = asdict(row)
    return {**plain.pop("place"), **plain}


def _unflat(plain: Mapping[str, Any]) -> Row:
    names = {field.name for field in fields(Place)}
    place = Place(**{name: value for name, value in plain.items() if name in names})
    return Row(place, **{name: value for name, value in plain.items() if name not in names})


def places(
    points: Sequence[Point], widths: Sequence[int], costs: Sequence[tuple[int, int]], features: np.ndarray
) -> list[tuple[Place, slice]]:
    """Pair every depth with its columns in ``features`` (N, sum of widths).

    Where the classifier reads nothing but the last stage's average, as in a ResNet, the two are one depth.
    """
    ends = np.cumsum(widths)
    found: list[tuple[Place, slice]] = []
    for point, width, end, cost in zip(points, widths, ends.tolist(), costs, strict=True):
        place = Place(point.kind, point.name, point.stage, int(width), *cost, head=point.kind == "head")
        columns = slice(end - int(width), end)
        before = found[-1] if found and found[-1][0].width == width else None
        if place.head and before and np.allclose(features[:, columns], features[:, before[1]], 1e-4, 1e-5):
            found[-1] = (replace(before[0], head=True), before[1])
        else:
            found.append((place, columns))
    return found


def probe_depths(
    depths: Sequence[tuple[Place, np.ndarray]],
    labels: np.ndarray,
    config: AutoCut,
    seed: int,
    own: Place | None = None,
    features: np.ndarray | None = None,
) -> Profile:
    """Cross-validate a probe at every depth, on the same folds; the images are training images, and no others.

    ``own`` is the run's own depth; where it is none of ``depths``, ``features`` (N, D) are those it reads there.

    Raises:
        InputError: No class has two images.
    """
    repeats = max(1, min(config.repeats, MOST // len(labels)))
    fold = deal(labels, config.folds, repeats, seed)
    scored = fold[:, 0] >= 0
    if not scored.any():
        what = "no class has two training images, so nothing can be cross-validated"
        raise InputError(what, "give more images a class, or choose a cut: cut=head")
    probes = [_validated(part, labels, fold) for _, part in depths]
    correct = np.stack([probe.correct[scored] for probe in probes])
    best, auto = decide(correct.reshape(len(probes), -1), config.tolerance)

    def row(place: Place, probe: Probe) -> Row:
        shares = probe.correct[scored].mean(1)  # of an image's repeats
        mean = float(shares.mean())
        return Row(place, mean, error_of(shares, labels[scored]), float(correct[best].mean()) - mean, probe.strength)

    rows = tuple(row(place, probe) for (place, _), probe in zip(depths, probes, strict=True))
    cut = index_of(own, [place for place, _ in depths]) if own else None
    extra = row(own, _validated(features, labels, fold)) if own and cut is None and features is not None else None
    return Profile(rows, best, auto, int(scored.sum()), int(fold.max()) + 1, repeats, cut, extra)


_probed: OrderedDict[bytes, Probe] = OrderedDict()  # what this process has found out, for the other jobs of a sweep


def _validated(features: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> Probe:
    """Cross-validate a probe, or remember it."""
    key = hashlib.blake2b(np.ascontiguousarray(features).data, digest_size=16)
    key.update(str(features.shape).encode() + np.ascontiguousarray(labels).tobytes() + fold.tobytes())
    if (known := _probed.pop(key.digest(), None)) is None:
        known = cross_validate(features, labels, fold)
    _probed[key.digest()] = known
    if len(_probed) > REMEMBERED:
        _probed.popitem(last=False)
    return known


def index_of(own: Place, known: Sequence[Place]) -> int | None:
    """Find a run's own depth among ``known``: by its name, as a head that is a last stage too, or as equal in cost."""
    for index, place in enumerate(known):
        same = (place.kind, place.name, place.stage) == (own.kind, own.name, own.stage)
        named = place.head if own.kind == "head" else same
        cost = (place.width, place.parameters, place.multiply_adds)
        if named or (own.kind != "head" and cost == (own.width, own.parameters, own.multiply_adds)):
            return index
    return None


def decide(correct: np.ndarray, tolerance: float) -> tuple[int, int]:
    """Return the best depth, and the shallowest whose mean paired loss against it is below ``tolerance``.

    ``correct`` (depths, N) says what each depth, from the input on, gets right of the same images. Of equal depths the
    shallower is the best; with a tolerance of 0 it is the one taken.
    """
    right = correct.sum(1)  # whole numbers: a difference of shares would round
    best = int(right.argmax())
    near = np.flatnonzero(right[best] - right < tolerance * correct.shape[1])
    return best, int(near[0]) if len(near) else best


def cut_of(place: Place) -> HeadCut | StageCut | LayerCut:
    """Return the cut that ends the network at a depth."""
    if place.kind == "stage":
        assert place.stage is not None
        return StageCut(stage=place.stage)
    return HeadCut() if place.kind == "head" else LayerCut(name=place.name)
