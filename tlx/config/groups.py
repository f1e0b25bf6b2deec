"""The typed schema: one dataclass for every kind of object that a config group can hold.

A group's yaml file names its ``kind``; the dataclass of that kind holds every argument, its type, its default and its
limits, once. The builder of the object takes just that dataclass. This module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tlx.config.fields import REQUIRED, choice, number, numbers, path
from tlx.config.images import *  # noqa: F403

# --- backbone and init -----------------------------------------------------------------------------------------------


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


# --- cut, freeze, head -----------------------------------------------------------------------------------------------


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
class TrunkFreeze:
    """Freeze every kept weight and buffer; only the head trains."""

    kind: str = "trunk"


@dataclass
class NoFreeze:
    """Train everything."""

    kind: str = "none"


@dataclass
class LinearHead:
    """One fully connected layer, one output a class, on globally average-pooled features."""

    kind: str = "linear"
    dropout: float = number(0.0, low=0, high=0.99)


# --- features and solver ---------------------------------------------------------------------------------------------


@dataclass
class MemoryFeatures:
    """A wholly frozen trunk computes its features once, kept in memory, and ``solver`` trains the head on them."""

    kind: str = "memory"


@dataclass
class NoFeatures:
    """Compute features live, in every epoch, with augmentation, through the Lightning trainer."""

    kind: str = "off"


@dataclass
class LbfgsSolver:
    """Multinomial logistic regression to convergence; the L2 strength is chosen on validation data.

    ``strengths`` are lambdas of ``mean cross entropy + lambda / 2 * |W|^2`` on standardised features.
    """

    kind: str = "lbfgs"
    strengths: list[float] = numbers(1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
    max_iterations: int = number(500, low=1)


# --- learning --------------------------------------------------------------------------------------------------------


@dataclass
class AdamW:
    """AdamW (Loshchilov and Hutter, 2019). Weight decay spares biases and norms."""

    kind: str = "adamw"
    lr: float = number(1e-3, above=0)
    weight_decay: float = number(0.05, low=0)
    betas: list[float] = numbers(0.9, 0.999)
    head_multiple: float = number(1.0, above=0)  # the head's learning rate, as a multiple of lr


@dataclass
class SGD:
    """Stochastic gradient descent with momentum. Weight decay spares biases and norms."""

    kind: str = "sgd"
    lr: float = number(0.05, above=0)
    weight_decay: float = number(1e-4, low=0)
    momentum: float = number(0.9, low=0, high=1)
    nesterov: bool = True
    head_multiple: float = number(1.0, above=0)


@dataclass
class CosineSchedule:
    """Linear warm-up, then half a cosine down to ``final`` times the learning rate; counted in steps."""

    kind: str = "cosine"
    warmup_epochs: float = number(0.5, low=0)
    final: float = number(0.01, low=0, high=1)


@dataclass
class ConstantSchedule:
    """Linear warm-up, then the learning rate as given."""

    kind: str = "constant"
    warmup_epochs: float = number(0.0, low=0)


@dataclass
class Regularizer:
    """Label smoothing (Szegedy et al., 2016), the only one yet."""

    kind: str = "standard"
    label_smoothing: float = number(0.0, low=0, high=0.99)


@dataclass
class Trainer:
    """What the Lightning trainer is asked for."""

    kind: str = "lightning"
    accelerator: str = choice("auto", "auto", "cpu", "gpu", "mps")
    devices: int | str = "auto"
    num_nodes: int = number(1, low=1)
    strategy: str = choice("auto", "auto", "ddp", "fsdp")
    precision: str = choice("32", "32", "bf16-mixed", "16-mixed")
    max_epochs: int = number(10, low=1)
    accumulate: int = number(1, low=1)  # batches a step
    gradient_clip: float | None = number(1.0, above=0)  # of the gradient's norm; null: off


@dataclass
class Checkpoint:
    """When the state is saved, besides at every epoch's end, and what "best" means."""

    monitor: str = choice("accuracy", "accuracy", "balanced_accuracy", "macro_f1", "loss")
    every_seconds: float = number(300.0, above=0)


@dataclass
class EarlyStopping:
    """Stop when the monitored validation metric has not improved for ``patience`` epochs (null: never)."""

    patience: int | None = number(None, low=1)
    min_delta: float = number(0.0, low=0)


@dataclass
class Callbacks:
    """What watches the training."""

    kind: str = "standard"
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    progress: bool = True


@dataclass
class Logger:
    """``metrics.csv`` is always written; ``tensorboard`` adds event files beside it."""

    kind: str = "csv"
    tensorboard: bool = False
