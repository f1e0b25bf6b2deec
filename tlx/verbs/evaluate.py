"""``evaluate``: measure a finished run's network again, on its own images or on others."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytorch_lightning as pl
import torch

from tlx.config.groups import NoAugment, OwnData
from tlx.config.roots import EvaluateConfig
from tlx.data.module import ImageModule, ending_workers
from tlx.data.open import open_source, open_split
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.learner.metrics import measure
from tlx.learner.trainer import make_trainer
from tlx.network.inference import Classifier, predict
from tlx.results import data_table
from tlx.results.console import console, metrics_table, say
from tlx.results.progress import bar
from tlx.results.run_folder import RunFolder, shown
from tlx.verbs.finished import lay_out_again, open_finished


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure the saved network on a split; print and return the metrics.

    Raises:
        InputError: No finished run, or images of other classes.
    """
    run = open_finished(config.run, config.backbone)
    folder, settings, (network, preprocessing, classes, _) = run
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
    trainer = make_trainer(replace(config.trainer, precision=lay_out_again(config.trainer, run).precision))
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


def _show(trainer: pl.Trainer, folder: RunFolder, metrics: dict[str, Any], count: int, facts: dict[str, Any]) -> None:
    if trainer.is_global_zero:
        out = console()
        data_table.remarks(out, facts, "data")
        say(out, "model", shown(folder.model))
        out.print(metrics_table(metrics, dict.fromkeys(metrics, count)))
