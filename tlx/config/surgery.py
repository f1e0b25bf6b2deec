"""The dataclasses of the groups ``backbone``, ``init``, ``cut`` and ``head``: what the network is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlx.config.fields import REQUIRED, choice, number, path

__all__ = [
    "AllCut",
    "AutoCut",
    "EarlyCut",
    "HeadCut",
    "LayerCut",
    "LinearHead",
    "PretrainedInit",
    "ScratchInit",
    "StageCut",
    "TimmBackbone",
]


@dataclass
class TimmBackbone:
    """A timm architecture. ``mean``, ``std``, ``image_size`` etc. default to what its weights were trained with."""

    kind: str = "timm"
    name: str = REQUIRED
    kwargs: Any = None  # a mapping, handed to timm.create_model
    weights: str = choice("hub", "hub", "package", "none")  # where init=pretrained finds them
    mean: list[float] | None = None
    std: list[float] | None = None
    image_size: int | None = number(None, low=1)
    interpolation: str | None = None
    crop: float | None = number(None, above=0, high=1)  # share of the resized image that the centre crop keeps


@dataclass
class PretrainedInit:
    """Pretrained weights: from ``file`` when given, else from where the backbone says (the package or the hub)."""

    kind: str = "pretrained"
    file: str | None = path()
    cache: str | None = path()  # a folder laid out as the hub's cache; default: the hub client's own


@dataclass
class ScratchInit:
    """Random weights, drawn from the seed."""

    kind: str = "scratch"


@dataclass
class HeadCut:
    """Only the classifier goes."""

    kind: str = "head"


@dataclass
class EarlyCut:
    """Keep the early stages: the share ``keep`` of them, rounded up."""

    kind: str = "early"
    keep: float = number(0.5, above=0, high=1)


@dataclass
class StageCut:
    """Keep everything up to and including one stage, by index or by name."""

    kind: str = "stage"
    stage: int | str = REQUIRED


@dataclass
class LayerCut:
    """Keep everything up to and including one layer, by its module path."""

    kind: str = "layer"
    name: str = REQUIRED


@dataclass
class AllCut:
    """Keep the network as far as its weights reach (or up to one stage or layer), and read every stage of it."""

    kind: str = "all"
    until: int | str | None = None  # a stage, by index or by name, or a layer; default: as far as the weights reach


@dataclass
class AutoCut:
    """Cut where cross-validated linear probes on the training images are best.

    A shallower depth is taken where it gets at most ``tolerance`` (a share of the images) fewer right.
    """

    kind: str = "auto"
    tolerance: float = number(0.005, low=0, high=1)
    folds: int = number(5, low=2)
    images: int = number(2000, low=10)  # at most so many training images decide, stratified


@dataclass
class LinearHead:
    """One fully connected layer, one output a class, on globally average-pooled features."""

    kind: str = "linear"
    dropout: float = number(0.0, low=0, high=0.99)
