"""``predict``: name the classes of images without labels, by a finished run's network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from tlx.config.roots import PredictConfig
from tlx.data.attempts import Readable, attempts
from tlx.data.decode import pixels
from tlx.data.module import ending_workers
from tlx.data.own.unlabelled import Unlabelled, open_unlabelled
from tlx.data.threads import CORES
from tlx.data.transforms import Prepare
from tlx.data.tta import Crops
from tlx.interruption import Interruption
from tlx.learner.answering import Answering
from tlx.learner.trainer import meet
from tlx.network.model_folder import Model
from tlx.network.probabilities import Probabilities
from tlx.results.answers import PARTIAL, TABLE, Answer, Answers
from tlx.results.console import console, counted, say
from tlx.results.own_folder import own_folder
from tlx.results.progress import bar
from tlx.results.run_folder import shown
from tlx.storage import write_json
from tlx.verbs.finished import Finished, open_finished, trainer_for


def predict(config: PredictConfig) -> dict[str, Any]:
    """Write what the network says of every image; return what ``about.json`` holds.

    Raises:
        InputError: No finished run, no images, a folder that holds predictions already.
        MachineError: The folder cannot be written.
        Interrupted: A signal came; what is written stands.
    """
    started = time.monotonic()
    run = open_finished(config.run, config.backbone)
    images = open_unlabelled(
        config.images, config.image_column, config.root, config.links, pixels(config.max_megapixels)
    )
    classes = run.model.classes
    how = Asked(_top(config.top, classes), config.tta, config.embed, config.batch_size, config.workers)
    trainer = trainer_for(config.trainer, run)
    meet(trainer)
    first, count = trainer.is_global_zero, len(images)
    name = Path(config.images).expanduser().absolute().name
    made = own_folder(config.output, "predictions", name, TABLE) if first else None
    folder: Any = trainer.strategy.broadcast(made)
    out = console()
    if first:
        _announce(config, run, images)
    width = run.model.network.trunk.width if config.embed else 0
    place = (trainer.global_rank, trainer.world_size)
    answers = Answers(folder, images.name, classes, count, how.top, width, place)
    interruption = Interruption("", lambda: f"{counted(answers.done, 'row')} stand in {shown(folder / TABLE)}{PARTIAL}")
    mine = range(count * place[0] // place[1], count * (place[0] + 1) // place[1])
    with interruption.watch(), interruption.defer(), bar(out, "predict", first) as progress:

        def take(answer: Answer) -> None:
            answers.add(answer)
            progress(answers.done, len(mine))

        try:
            answer_all(run.model, images, how, trainer, take, mine, interruption)
        finally:
            answers.close()
    faults = sum(trainer.strategy.broadcast(answers.faults, rank) for rank in range(place[1]))
    trainer.strategy.barrier()
    if not first:
        return {}
    answers.finish()
    seconds = time.monotonic() - started
    about = {
        "run": str(run.folder.path),
        "images": config.images,
        "rows": count,
        "faults": faults,
        "classes": classes,
        "temperature": run.model.temperature,
        "top": how.top,
        "tta": config.tta,
        "precision": str(trainer.precision),
        "seconds": round(seconds, 3),
    }
    write_json(folder / "about.json", about)
    say(out, "done", f"{counted(count, 'image')} in {seconds:.1f} s, {count / seconds:,.0f} a second")
    if faults:
        say(out, "", f"{counted(faults, 'image')} could not be read: the column error says why", "yellow")
    for file in answers.files:
        say(out, "written", shown(folder / file))
    return about


@dataclass(frozen=True)
class Asked:
    """How images are to be answered for: see PredictConfig."""

    top: int
    tta: str = "none"
    embed: bool = False
    batch_size: int = 64
    workers: int | None = None


def answer_all(
    model: Model,
    images: Readable,
    how: Asked,
    trainer: pl.Trainer,
    take: Callable[[Answer], None],
    places: range,
    interruption: Interruption | None = None,
) -> None:
    """Hand the network's answers for the images at ``places`` to ``take``, in their order, batch by batch."""
    if not places and trainer.world_size == 1:  # of several processes, the others wait for this one
        return
    crops = Crops(Prepare(model.preprocessing), how.tta)
    workers = how.workers
    if workers is None:  # a processor that computes has no core left for others; a device waits for many
        workers = 0 if trainer.strategy.root_device.type == "cpu" else CORES
    size = max(1, how.batch_size // trainer.world_size)
    module = Probabilities(model, how.top, crops.mirrored, how.embed)
    callback = Answering(take, interruption)
    trainer.callbacks.append(callback)  # type: ignore[attr-defined]
    try:
        with ending_workers():
            trainer.predict(module, attempts(images, crops, size, workers, places), return_predictions=False)
    finally:
        trainer.callbacks.remove(callback)  # type: ignore[attr-defined]


def _top(asked: int | str, classes: list[str]) -> int:
    return len(classes) if asked == "all" else min(int(asked), len(classes))


def _announce(config: PredictConfig, run: Finished, images: Unlabelled) -> None:
    out = console()
    say(out, "model", f"{shown(run.folder.model)}, {len(run.model.classes)} classes")
    told = f"; left aside: {images.aside}" if images.aside else ""
    say(out, "images", f"{counted(len(images), 'image')} of {config.images}{told}")
