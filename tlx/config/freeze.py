"""The dataclasses of the group ``freeze``: which parameters train in which phase and epoch. The head always trains."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlx.config.fields import REQUIRED, choice, number

__all__ = [
    "BiasFreeze",
    "GradualFreeze",
    "LastFreeze",
    "LoraFreeze",
    "LpFtFreeze",
    "NoFreeze",
    "NormFreeze",
    "PatternFreeze",
    "PhaseSettings",
    "SurgicalFreeze",
    "TrunkFreeze",
    "UptoFreeze",
]


@dataclass
class PhaseSettings:
    """What a phase has of its own; null: what ``trainer``, ``optimizer``, ``schedule`` and ``callbacks`` say."""

    epochs: int | None = number(None, low=1)
    lr: float | None = number(None, above=0, words=("auto",))
    warmup_epochs: float | None = number(None, low=0)
    patience: int | None = number(None, low=1)  # early stopping


@dataclass
class TrunkFreeze:
    """Freeze every kept weight and buffer; only the head trains. Batch statistics are frozen."""

    kind: str = "trunk"


@dataclass
class Thawing:
    """What every policy shares under which some of the trunk trains.

    ``batch_statistics``: ``moving``, those of a BatchNorm whose own parameters train move, all others are frozen;
    ``frozen``, none moves.
    """

    batch_statistics: str = choice("moving", "moving", "frozen")


@dataclass
class NoFreeze(Thawing):
    """Train everything."""

    kind: str = "none"


@dataclass
class UptoFreeze(Thawing):
    """Freeze from the input up to and including ``stage``, which is a stage's index or name, or a layer's path.

    Frozen is exactly what a cut at that point would keep.
    """

    kind: str = "upto"
    stage: int | str = REQUIRED


@dataclass
class LastFreeze(Thawing):
    """Train the last ``stages`` stages of the trunk, and the head."""

    kind: str = "last"
    stages: int = number(1, low=1)


@dataclass
class GradualFreeze(Thawing):
    """Gradual unfreezing (Howard and Ruder, 2018): the head alone, then one stage more every ``every`` epochs."""

    kind: str = "gradual"
    every: int = number(1, low=1)


@dataclass
class LpFtFreeze(Thawing):
    """Linear probing, then fine-tuning (Kumar et al., 2022): the head alone, then everything, from the best probe."""

    kind: str = "lp_ft"
    probe: PhaseSettings = field(default_factory=PhaseSettings)
    finetune: PhaseSettings = field(default_factory=PhaseSettings)
    batch_statistics: str = choice("frozen", "moving", "frozen")  # the probe saw features by the kept ones


@dataclass
class NormFreeze(Thawing):
    """Train the normalisation layers (Frankle et al., 2021), and the head."""

    kind: str = "norm"


@dataclass
class BiasFreeze(Thawing):
    """Train the biases (BitFit; Ben Zaken et al., 2022), and the head."""

    kind: str = "bias"


@dataclass
class SurgicalFreeze(Thawing):
    """Surgical fine-tuning (Lee et al., 2023): probe the head, then train it and the ``stages`` stages that one
    backward pass recommends: those with the largest gradient norm relative to their weights' norm, over at most
    ``images`` training images.
    """

    kind: str = "surgical"
    stages: int = number(1, low=1)
    images: int = number(512, low=1)
    probe: PhaseSettings = field(default_factory=PhaseSettings)
    finetune: PhaseSettings = field(default_factory=PhaseSettings)
    batch_statistics: str = choice("frozen", "moving", "frozen")  # the probe saw features by the kept ones


@dataclass
class PatternFreeze(Thawing):
    """Train the parameters whose names match one of the regular expressions ``train``.

    The expressions are searched for in names such as ``layer4.0.conv1.weight``.
    """

    kind: str = "pattern"
    train: list[str] = field(default_factory=list)
    head: bool = True  # whether the head trains as well


@dataclass
class LoraFreeze:
    """Low-rank adapters (LoRA; Hu et al., 2021): kept weights stay, a low-rank update of them trains, and the head.

    An adapted weight W becomes W + ``alpha`` / ``rank`` * B A. The saved model holds the products, merged.
    """

    kind: str = "lora"
    rank: int = number(8, low=1)
    alpha: float = number(16.0, above=0)
    pattern: list[str] = field(default_factory=lambda: [".*"])  # regular expressions over module paths
