"""The dataclasses of the groups ``backbone``, ``init``, ``cut`` and ``head``: what the network is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlx.config.fields import REQUIRED, choice, number, numbers, path

__all__ = [
    "AllCut",
    "AutoCut",
    "CosineHead",
    "CustomBackbone",
    "DepthCut",
    "EarlyCut",
    "HeadCut",
    "LayerCut",
    "LinearHead",
    "MlpHead",
    "NeighboursHead",
    "PretrainedInit",
    "RaceInit",
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
    """Pretrained weights: a finished ``run``'s, else from ``file``, else from where the backbone says."""

    kind: str = "pretrained"
    file: str | None = path()
    run: str | None = path()  # a run folder of tlx: transfers chain
    cache: str | None = path()  # a folder laid out as the hub's cache; default: the hub client's own


@dataclass
class ScratchInit:
    """Random weights, drawn from the seed."""

    kind: str = "scratch"


@dataclass
class RaceInit(PretrainedInit):
    """Both: an arm from pretrained weights and an arm from random ones, by successive halving on validation data.

    Both arms train by the schedule of the whole budget, ``trainer.max_epochs``, and pause after a quarter, a half and
    the whole of the share ``share`` of it. Successful is the arm with the lower validation loss. At an earlier pause
    the other arm falls if it trails by more than ``margin`` standard errors of the difference, at the last pause in
    any case; if equal, pretrained goes on.
    """

    kind: str = "race"
    share: float = number(0.35, above=0, high=1)
    margin: float = number(3.0, low=0)

    def pretrained(self) -> PretrainedInit:
        """Return the start of the pretrained arm."""
        return PretrainedInit(file=self.file, run=self.run, cache=self.cache)


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


def pool() -> Any:
    """Declare how a head pools the trunk's features; ``auto``: as the backbone's own classifier, else the average."""
    return choice("auto", "auto", "avg", "max", "avgmax", "gem", "token", "attention")


@dataclass
class AllCut:
    """Keep the network up to ``until``, a stage by index or name, or a layer, and read every stage on the way at once.

    By default, a run keeps it as far as its weights reach.
    """

    kind: str = "all"
    until: int | str | None = None


@dataclass
class AutoCut:
    """Cut where cross-validated linear probes on the training images are best.

    A shallower depth is taken where it gets less than ``tolerance`` (a share of the images) fewer right. The
    cross-validation is repeated with other folds as long as ``repeats`` and 1,000 images in all are not exceeded.
    """

    kind: str = "auto"
    tolerance: float = number(0.005, low=0, high=1)
    folds: int = number(5, low=2)
    repeats: int = number(4, low=1)
    images: int = number(2000, low=10)  # at most so many training images decide, stratified


@dataclass
class LinearHead:
    """Pooling and one fully connected layer, one output a class."""

    kind: str = "linear"
    pool: str = pool()
    dropout: float = number(0.0, low=0, high=0.99)


@dataclass
class MlpHead:
    """Pooling, fully connected hidden layers (each normalised, then GELU), and one output a class."""

    kind: str = "mlp"
    pool: str = pool()
    hidden: list[int] = numbers(512, low=1, high=65536, least=1)  # the layers' widths
    dropout: float = number(0.0, low=0, high=0.99)  # behind every hidden layer
    norm: str = choice("layer", "layer", "batch", "none")


@dataclass
class CosineHead:
    """Pooling, and the cosine between the features and one weight vector a class, times a learned factor."""

    kind: str = "cosine"
    pool: str = pool()
    temperature: float = number(16.0, above=0, high=1000)  # the factor at the start


@dataclass
class NeighboursHead:
    """Pooling, and votes of stored features. Nobody asks for it: ``solver=knn`` puts it in a linear head's place."""

    kind: str = "neighbours"
    pool: str = pool()
    k: int = number(REQUIRED, low=1)
    temperature: float = number(REQUIRED, above=0)
    sharpness: float = number(REQUIRED, above=0)  # what the logarithms of the shares of the votes are multiplied by
    rows: int = number(REQUIRED, low=1)  # how many features are stored
