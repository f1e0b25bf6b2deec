"""The root configs, one a verb: which groups a verb takes and which kinds each group may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tlx.config import groups as g
from tlx.config.fields import REQUIRED, choice, number, path, paths

Backbone = g.TimmBackbone | g.CustomBackbone
Init = g.PretrainedInit | g.ScratchInit | g.RaceInit
Cut = g.HeadCut | g.EarlyCut | g.DepthCut | g.StageCut | g.LayerCut | g.AllCut | g.AutoCut
Head = g.LinearHead | g.MlpHead | g.CosineHead
Freeze = (
    g.TrunkFreeze
    | g.NoFreeze
    | g.UptoFreeze
    | g.LastFreeze
    | g.GradualFreeze
    | g.LpFtFreeze
    | g.NormFreeze
    | g.BiasFreeze
    | g.SurgicalFreeze
    | g.PatternFreeze
    | g.LoraFreeze
)
Features = g.BankFeatures | g.NoFeatures
Solver = g.LbfgsSolver | g.RidgeSolver | g.NcmSolver | g.KnnSolver | g.SgdSolver
OwnData = g.FolderData | g.TableData | g.ShardsData | g.HubData | g.TorchvisionData
AnyData = OwnData | g.DigitsData | g.LettersData | g.PatchesData
Augment = g.NoAugment | g.LightAugment | g.StandardAugment | g.StrongAugment
Optimizer = g.AdamW | g.SGD
Logger = g.CsvLogger | g.TensorboardLogger | g.MlflowLogger | g.WandbLogger
Schedule = g.CosineSchedule | g.ConstantSchedule


@dataclass
class TrainConfig:
    """Everything one training takes; ``inspect`` takes the same."""

    backbone: Backbone
    init: Init
    cut: Cut
    freeze: Freeze
    head: Head
    features: Features
    solver: Solver
    data: AnyData
    augment: Augment
    optimizer: Optimizer
    schedule: Schedule
    regularizer: g.Regularizer
    trainer: g.Trainer
    callbacks: g.Callbacks
    logger: Logger
    case: str | None = None  # set by the door from the chosen option
    seed: int = number(0, low=0, high=2**31 - 1)
    report: bool = True  # report.html, when the result stands


@dataclass
class PretrainConfig(TrainConfig):
    """A training whose trunk is written to ``output`` as weights for later transfers."""

    output: str = path(required=True)


@dataclass
class AdviseConfig(TrainConfig):
    """Say which case suits some images and a backbone."""

    output: str | None = path()  # the folder that is written; default: one of its own below outputs/advice
    backbones: list[str] = field(default_factory=list)  # several to rank
    trials: bool = True  # whether whole networks are trained for a short while


@dataclass
class OwnBackbone:
    """Whose code a run's custom backbone is. A run folder never says so itself."""

    target: str | None = None
    kwargs: Any = None  # the same as in training


@dataclass
class EvaluateConfig:
    """Measure a finished run again, on one of its splits or on other images."""

    trainer: g.Trainer
    data: AnyData | None = None
    backbone: OwnBackbone = field(default_factory=OwnBackbone)
    run: str = path(required=True)
    split: str = choice("test", "train", "val", "test")
    output: str | None = path()  # default: a folder of its own in the run's ``evaluations``
    report: bool = True  # report.html in it


@dataclass
class PredictConfig:
    """Name the classes of images without labels, by a finished run's network.

    Args:
        images: An image, a folder, a pattern, or a table with a column of paths.
        output: The folder that is written; if not given, one of its own below ``outputs/predictions``.
        image_column: Of a table, the column of the paths.
        root: Of a table, what its paths are relative to, and may not lead out of; its own folder if not given.
        links: Of a folder: symbolic links that lead out of it are refused (``inside``), or followed (``anywhere``).
        max_megapixels: Larger images are not decoded.
        workers: Processes that read images; 0: threads of this one.
        top: How many classes a row names, or ``all``.
        tta: Whose probabilities are averaged: ``flip`` the image's and its mirror image's, ``crops`` those of five
            crops and their mirror images.
        embed: Write the pooled features as well.
    """

    trainer: g.Trainer
    backbone: OwnBackbone = field(default_factory=OwnBackbone)
    run: str = path(required=True)
    images: str = path(required=True)
    output: str | None = path()
    image_column: str = "image"
    root: str | None = path()
    links: str = choice("inside", "inside", "anywhere")
    max_megapixels: float = number(100.0, above=0)
    batch_size: int = number(64, low=1)
    workers: int | None = number(None, low=0)
    top: int = number(5, low=1, words=("all",))
    tta: str = choice("none", "none", "flip", "crops")
    embed: bool = False


@dataclass
class ExportConfig:
    """Write a finished run's network in a format that other programs read."""

    backbone: OwnBackbone = field(default_factory=OwnBackbone)
    run: str = path(required=True)
    format: str = choice(REQUIRED, "onnx", "torch_export", "timm", "safetensors")
    output: str | None = path()  # default: export/FORMAT in the run's folder
    push_to_hub: str | None = None  # OWNER/NAME


@dataclass
class ReportConfig:
    """Make the pages of finished runs anew, and the one that compares them where there are several."""

    runs: list[str] = paths()  # run folders, or folders of them such as a sweep's
    output: str | None = path()  # where the comparison goes; by default the folder that holds the runs


@dataclass
class ResumeTrainer:
    """The part of the trainer's settings that ``resume`` may extend."""

    max_epochs: int | None = number(None, low=1)


@dataclass
class ResumePhase:
    """The part of a phase's settings that ``resume`` may extend."""

    epochs: int | None = number(None, low=1)


@dataclass
class ResumeFreeze:
    """The phases that ``resume`` may extend: the last one."""

    finetune: ResumePhase = field(default_factory=ResumePhase)


@dataclass
class ResumeConfig:
    """Go on with an interrupted run in its own folder."""

    run: str = path(required=True)
    backbone: OwnBackbone = field(default_factory=OwnBackbone)
    trainer: ResumeTrainer = field(default_factory=ResumeTrainer)
    freeze: ResumeFreeze = field(default_factory=ResumeFreeze)


ROOTS: dict[str, type] = {
    "train": TrainConfig,
    "advise": AdviseConfig,
    "resume": ResumeConfig,
    "inspect": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "report": ReportConfig,
    "pretrain": PretrainConfig,
}

__all__ = [
    "REQUIRED",
    "ROOTS",
    "AdviseConfig",
    "EvaluateConfig",
    "ExportConfig",
    "OwnBackbone",
    "PredictConfig",
    "PretrainConfig",
    "ReportConfig",
    "ResumeConfig",
    "TrainConfig",
]
