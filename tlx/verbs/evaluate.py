"""``evaluate``: measure a finished run's network again, on its own images or on others."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytorch_lightning as pl
import torch

from tlx.config.groups import NoAugment, OwnData, Trainer
from tlx.config.roots import EvaluateConfig, TrainConfig
from tlx.data.module import ImageModule, ending_workers
from tlx.data.open import open_source, open_split
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.learner.metrics import measure
from tlx.learner.plan import plan
from tlx.learner.trainer import make_trainer
from tlx.learner.trial import Pace
from tlx.network import model_folder
from tlx.network.inference import Classifier, predict
from tlx.network.memory_format import lay_out
from tlx.results import data_table
from tlx.results.console import console, metrics_table, say
from tlx.results.decisions import Decisions
from tlx.results.progress import bar
from tlx.results.run_folder import RunFolder, shown
from tlx.verbs.resume import saved_config


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure the saved network on a split; print and return the metrics.

    Raises:
        InputError: No finished run, or images of other classes.
    """
    folder = RunFolder.open(config.run)
    if not folder.model.is_dir():
        raise InputError(f"{folder.path} has no model/ yet", f"finish the run: {folder.resume_command}")
    settings = saved_config(folder.read_config(), config.backbone)
    network, preprocessing, classes, _ = model_folder.load(folder.model, settings.backbone)
    data = config.data or settings.data
    if (asked := data.image_size) is not None and asked != preprocessing.image_size:
        what = (
            f"data.image_size={asked} cannot be had: this run's network takes images of {preprocessing.image_size} px"
        )
        raise InputError(what, "leave it out; images of any size are resized to that")
    with bar(console(), "scan") as progress:
        if isinstance(config.data, OwnData):
            source = open_split(config.data, config.split, progress)
        else:
            source = open_source(data, settings.seed, progress=progress)
    if unknown := sorted(set(source.classes) - set(classes)):
        what = f"the run does not know the classes {', '.join(unknown)}"
        raise InputError(what, f"its classes: {', '.join(classes)}")
    pace = _pace(config.trainer, settings, folder)
    if pace.memory_format != "auto":
        lay_out(network.trunk, pace.memory_format)
    trainer = make_trainer(replace(config.trainer, precision=pace.precision))
    images = ImageModule(
        source,
        Prepare(**asdict(preprocessing)),
        NoAugment(),
        data.batch_size,
        data.workers,
        "none",
        settings.seed,
        place=(trainer.global_rank, trainer.world_size),
    )
    with ending_workers():
        logits = predict(trainer, Classifier(network), images.plain_loader(config.split))
    labels = torch.tensor([classes.index(source.classes[k]) for k in source.split(config.split).labels])
    metrics = {config.split: measure(logits, labels, classes)}
    _show(trainer, folder, metrics, len(labels), source.facts)
    return metrics


def _pace(asked: Trainer, settings: TrainConfig, folder: RunFolder) -> Pace:
    """Return the pace to measure at: what is asked for, else that of the run's last training or of its features.

    A run from before paces were settled has what its config says, which may be ``auto``: nothing is known.
    """
    taken = Decisions(folder.decisions).taken
    settled = taken.get(f"pace/{plan(settings)[-1].name}") or taken.get("pace/features") or {}
    parts = {
        name: given if given != "auto" else settled.get(name, had)
        for name, given, had in (
            ("precision", asked.precision, settings.trainer.precision),
            ("memory_format", asked.memory_format, settings.trainer.memory_format),
        )
    }
    return Pace(**parts)


def _show(trainer: pl.Trainer, folder: RunFolder, metrics: dict[str, Any], count: int, facts: dict[str, Any]) -> None:
    if trainer.is_global_zero:
        out = console()
        data_table.remarks(out, facts, "data")
        say(out, "model", shown(folder.model))
        out.print(metrics_table(metrics, dict.fromkeys(metrics, count)))
