"""``evaluate``: measure a finished run's network again, on its own images or on others."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlx.config.groups import NoAugment, OwnData
from tlx.config.roots import EvaluateConfig
from tlx.data.module import ImageModule, ending_workers
from tlx.data.open import open_source, open_split
from tlx.data.source import Source, fingerprint
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.learner.metrics import measure, tempered
from tlx.network.inference import Classifier, predict
from tlx.results import data_table, predictions
from tlx.results.console import console, counted, metrics_table, say
from tlx.results.intervals import intervals
from tlx.results.predictions import Predicted, predicted
from tlx.results.progress import bar
from tlx.results.result import data_name
from tlx.results.run_folder import RunFolder, shown
from tlx.secrecy import discreet_word
from tlx.storage import cannot_write, read_json, write_json
from tlx.training.page import make_page_of
from tlx.verbs.finished import Finished, open_finished, trainer_for

WORST = 10  # groups that the terminal shows


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure the saved network on a split; print and return the metrics, and keep them with a page of their own.

    Raises:
        InputError: No finished run, or images of other classes.
    """
    started = time.monotonic()
    run = open_finished(config.run, config.backbone)
    folder, settings, (network, preprocessing, classes, temperature) = run
    data = config.data or settings.data
    source = _opened(config, run)
    trainer = trainer_for(config.trainer, run)
    images = ImageModule(
        source,
        Prepare(preprocessing),
        NoAugment(),
        data.batch_size,
        data.workers,
        "none",
        settings.seed,
        place=(trainer.global_rank, trainer.world_size),
    )
    split = source.split(config.split)
    with ending_workers():
        logits = predict(trainer, Classifier(network), images.plain_loader(config.split))
    labels = torch.tensor([classes.index(source.classes[k]) for k in split.labels])
    metrics = {config.split: measure(logits, labels, classes)}
    if trainer.is_global_zero:
        said = predicted(split, labels, logits, temperature)
        sliced = slices(source.groups, said.right)
        _show(folder, metrics, len(labels), source.facts, sliced)
        output = _folder(config, data, folder)
        name = data_name(replace(settings, data=data))
        measured = {
            "metrics": {"test": metrics[config.split]},
            "temperature": {"value": temperature, "test": tempered(logits, labels, temperature)},
            "images": {**_trained_on(folder), "test": len(labels)},
            "evaluates": shown(folder.path),
            "data": name,
            "measured": f"{config.split} images of {name}",
            "slices": sliced,
            "seconds": {"total": time.monotonic() - started},
        }
        _keep(run, output, measured, said, source, fingerprint(split))
        if config.report:
            make_page_of(output, network, split, images.prepare, said)
        say(console(), "folder", shown(output.path))
    return metrics


def _opened(config: EvaluateConfig, run: Finished) -> Source:
    """Open the images to measure on: those that are asked for, which need no splits, else the run's own.

    Raises:
        InputError: Images of another size or of other classes than the network's.
    """
    data, size = config.data or run.settings.data, run.model.preprocessing.image_size
    if (asked := data.image_size) is not None and asked != size:
        what = f"data.image_size={asked} cannot be had: this run's network takes images of {size} px"
        raise InputError(what, "leave it out; images of any size are resized to that")
    with bar(console(), "scan") as progress:
        if isinstance(config.data, OwnData):
            source = open_split(config.data, config.split, progress)
        else:
            source = open_source(data, run.settings.seed, progress=progress)
    if unknown := sorted(set(source.classes) - set(run.model.classes)):
        what = f"the run does not know the classes {', '.join(unknown)}"
        raise InputError(what, f"its classes: {', '.join(run.model.classes)}")
    return source


def _trained_on(run: RunFolder) -> dict[str, int]:
    """Return how many images the run itself trained on and chose by."""
    images = run.read_result().get("images")
    known = images if isinstance(images, dict) else {}
    return {split: count for split in ("train", "val") if isinstance(count := known.get(split, 0), int)}


def _folder(config: EvaluateConfig, data: Any, run: RunFolder) -> RunFolder:
    """Return the folder of this evaluation, one for the same images of the same run."""
    name = re.sub(r"\W+", "_", f"{Path(str(_place(data))).name}_{config.split}")
    output = Path(config.output).expanduser().absolute() if config.output else run.path / "evaluations" / name
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(output, error) from None
    return RunFolder(output)


def _place(data: Any) -> str:
    """Return where images are from, or what kind they are."""
    return next((str(v) for name in ("root", "file", "name") if (v := getattr(data, name, None))), data.kind)


def _keep(
    run: Finished, output: RunFolder, measured: dict[str, Any], said: Predicted, source: Source, images: str
) -> None:
    """Write what was measured: a result like the run's own, with these images in the place of its test images.

    ``images`` is their fingerprint.
    """
    own = run.folder.read_result()
    command = shlex.join(["python", "-m", "tlx", *map(discreet_word, sys.argv[1:])])
    known = own.get("fingerprints")
    fingerprints = {**(known if isinstance(known, dict) else {}), "test": images}
    result = {**own, **measured, "fingerprints": fingerprints, "run_dir": str(output.path), "command": command}
    write_json(output.result, result)
    facts = source.facts
    counted = facts.get("splits") or {}
    one: dict[str, int] = next(iter(counted.values()), {})  # these images stand for every split
    write_json(output.data, {**facts, "splits": {"test": counted.get("test", one)}} if counted else facts)
    predictions.write(output.predictions, {"test": said}, run.model.classes)
    if run.folder.surgery.is_file():
        write_json(output.surgery, read_json(run.folder.surgery))


def slices(groups: Sequence[str], right: np.ndarray) -> list[dict[str, Any]]:
    """Measure every group of images apart, the worst first: images, accuracy and its 95 % interval."""
    if not groups:
        return []
    names, codes = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    rows = []
    for code, name in enumerate(names):
        hits, count = int(right[codes == code].sum()), int((codes == code).sum())
        interval = intervals(np.array([[hits, count - hits], [0, 0]]))["accuracy"]
        rows.append({"group": str(name), "images": count, "accuracy": hits / count, "interval": list(interval)})
    return sorted(rows, key=lambda row: row["accuracy"])


def _show(
    folder: RunFolder, metrics: dict[str, Any], count: int, facts: dict[str, Any], sliced: list[dict[str, Any]]
) -> None:
    out = console()
    data_table.remarks(out, facts, "data")
    say(out, "model", shown(folder.model))
    out.print(metrics_table(metrics, dict.fromkeys(metrics, count)))
    (measured,) = metrics.values()
    found = intervals(np.array(measured["confusion_matrix"])).items()
    told = ", ".join(f"{name.replace('_', ' ')} {low:.4f} to {high:.4f}" for name, (low, high) in found)
    say(out, "interval", f"{told} (95 %, bootstrap)")
    for row in sliced[:WORST]:
        low, high = row["interval"]
        figures = f"{row['accuracy']:.4f} of {counted(row['images'], 'image')} ({low:.4f} to {high:.4f})"
        say(out, "group", f"{row['group']}: accuracy {figures}")
    if len(sliced) > WORST:
        say(out, "", f"and {len(sliced) - WORST:,} more groups, better")
