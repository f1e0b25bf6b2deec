"""``result.json``: what a run measured, under names that other programs read."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

from tlx import __version__
from tlx.config.groups import (
    FolderData,
    HubData,
    LettersData,
    PatchesData,
    ShardsData,
    TableData,
    TorchvisionData,
)
from tlx.config.roots import TrainConfig
from tlx.results.clock import PHASES

FORMAT = 1
PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "timm",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "scikit-learn",
)
METRICS = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "calibration_error")


def versions() -> dict[str, str]:
    """Return the versions of tlx, Python and the packages that shape a result."""
    found = {"tlx": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def required() -> dict[str, Any]:
    """Return the names that every ``result.json`` holds; a nested value names what it holds in turn."""
    return {
        **dict.fromkeys(("case", "backbone", "init", "cut", "freeze", "head", "seed", "num_classes", "classes")),
        "metrics": {split: dict.fromkeys(METRICS) for split in ("train", "val", "test")},
        "parameters": dict.fromkeys(("kept", "dropped", "trained", "frozen")),
        **dict.fromkeys(("frozen_unchanged", "best")),
        "seconds": dict.fromkeys(("total", "imports", *PHASES)),
        "images": dict.fromkeys(("train", "val", "test")),
        "images_left_out": None,
        "fingerprints": dict.fromkeys(("data", "weights", "model", "test")),
        **dict.fromkeys(("versions", "command", "run_dir", "format")),
    }


def compose(settings: TrainConfig, classes: tuple[str, ...], **measured: Any) -> dict[str, Any]:
    """Put together what a run measured and what it was asked for."""
    return {
        "format": FORMAT,
        "case": settings.case,
        "backbone": settings.backbone.name,
        "init": settings.init.kind,
        "cut": settings.cut.kind,
        "freeze": settings.freeze.kind,
        "head": settings.head.kind,
        "data": data_name(settings),
        "seed": settings.seed,
        "num_classes": len(classes),
        "classes": list(classes),
        **measured,
        "versions": versions(),
    }


def data_name(config: TrainConfig) -> str:
    """Name the data as a person would: the folder's name, the table's, or the set's."""
    data = config.data
    if isinstance(data, FolderData | ShardsData):
        return PurePath(data.root).name
    if isinstance(data, TableData):
        return PurePath(data.file).stem
    if isinstance(data, HubData | TorchvisionData):
        return PurePath(data.name).name
    if isinstance(data, LettersData):
        return data.script
    return f"rotated {data.kind}" if isinstance(data, PatchesData) and data.rotate else data.kind
