"""The dataclasses of the groups ``backbone``, ``init``, ``cut`` and ``head``: what the network is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlx.config.fields import REQUIRED, choice, number, numbers, path

__all__ = [
    "CustomBackbone",
    "DepthCut",
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
class CustomBackbone:
    """A network of the user's own: the dotted name of an ``nn.Module`` class, or of a function that returns a module.

    It is imported as ``python -m`` would; only ever from the command line or a config file, never from a run folder.
    """

    kind: str = "custom"
    target: str = REQUIRED
    kwargs: Any = None  # a mapping, handed to the target
    image_size: int = number(REQUIRED, low=1)
    mean: list[float] = numbers(0.485, 0.456, 0.406)
    std: list[float] = numbers(0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    crop: float = number(1.0, above=0, high=1)

    @property
    def name(self) -> str:
        """What results call it."""
        return self.target

    @property
    def weights(self) -> str:
        """Where pretrained weights are found: in no place but ``init.file``."""
        return "none"


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
class DepthCut:
    """Keep the share ``keep`` of the depth: all up to the last stage or layer that lies within that share.

    The depth is counted in layers with weights, the classifier left out. At least the first is kept.
    """

    kind: str = "depth"
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
class LinearHead:
    """One fully connected layer, one output a class, on globally average-pooled features."""

    kind: str = "linear"
    dropout: float = number(0.0, low=0, high=0.99)
