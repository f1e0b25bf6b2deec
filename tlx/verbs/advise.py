"""``advise``: which case fits some images and a backbone, what accuracy to expect, and what it costs."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tlx.advice.advise import Advice
from tlx.advice.advise import advise as find_advice
from tlx.advice.ranking import rank
from tlx.config.cases import Auto
from tlx.config.groups import OwnData
from tlx.config.roots import AdviseConfig, TrainConfig
from tlx.data.module import ending_workers
from tlx.data.open import open_source
from tlx.data.source import Source
from tlx.errors import InputError
from tlx.interruption import Interruption
from tlx.learner.trainer import make_trainer
from tlx.results import advice as told_advice
from tlx.results import data_table
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.page.advice import make_advice_page
from tlx.results.progress import bar
from tlx.results.run_folder import shown
from tlx.storage import cannot_write, write_json

ADVICE = "advice.json"


def advise(asked: tuple[AdviseConfig, list[Auto]]) -> dict[str, Any]:
    """Print the advice and write it with its page; return what ``advice.json`` holds.

    Of several backbones, each is probed, and the advice is about the best.

    Raises:
        InputError: Too few images, a folder that holds advice already, whatever is wrong with a backbone.
        MachineError: The folder cannot be written.
    """
    started = time.monotonic()
    config, autos = asked
    must_be_alone(config)
    folder, out = _folder(config), console()
    interruption = Interruption("", lambda: "nothing is written; features that were computed are kept")
    clock = Clock(started, 0.0)
    with interruption.watch(), ending_workers():
        with bar(out, "scan", shows=config.callbacks.progress) as progress:
            source = open_source(config.data, config.seed, lambda facts: None, progress)
        _announce(config, source)
        ranking = rank(autos, source, clock) if len(autos) > 1 else []
        auto = autos[ranking[0]["index"] if ranking else 0]
        if ranking:
            told_advice.show_ranking(out, ranking)
        found = taken(auto, source, folder, clock, interruption, config.trials)
        told = {**found.plain(auto), "backbones": ranking}
        write_json(folder / ADVICE, told)
        told_advice.show(out, told)
        if config.report:
            make_advice_page(folder, told)
    say(out, "folder", shown(folder))
    return told


def taken(
    auto: Auto, source: Source, folder: Path, clock: Clock, interruption: Interruption, tries: bool = True
) -> Advice:
    """Look for advice, with a bar that shows what is under way."""
    shows = auto.cases["small_similar"].callbacks.progress
    with bar(console(), "advice", shows=shows) as progress:
        return find_advice(auto, source, folder, clock, interruption, progress, tries)


def must_be_alone(config: TrainConfig) -> None:
    """Make sure that one process runs on one device: trials are timed, and start and end.

    Raises:
        InputError: Several do.
    """
    if make_trainer(config.trainer).world_size > 1:
        what = "advice is found on one device"
        raise InputError(what, "add trainer.devices=1, and train with what it says on as many as you like")


def _announce(config: TrainConfig, source: Source) -> None:
    out = console()
    place = next((str(v) for name in ("root", "file", "name") if (v := getattr(config.data, name, None))), "")
    what = f"{config.data.kind} {shown(Path(place))}" if place else config.data.kind
    counts = f"{len(source.train.labels):,} train, {len(source.val.labels):,} val, {len(source.test.labels):,} test"
    say(out, "data", f"{what}, {len(source.classes)} classes, images: {counts}")
    data_table.remarks(out, source.facts)
    if config.backbone.weights == "package" and isinstance(config.data, OwnData):
        say(
            out,
            "",
            "the embedded backbone has seen rendered letters only; for photographs: backbone=resnet50 or another",
        )


def _folder(config: AdviseConfig) -> Path:
    """Make the folder: the one that is asked for, which may not hold advice, else one of its own."""
    base = Path("outputs", "advice").absolute() / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    try:
        if config.output is not None:
            folder = Path(config.output).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / ADVICE).exists():
                raise InputError(f"{folder} already holds {ADVICE}", "remove it, or give another output=FOLDER")
            return folder
        base.parent.mkdir(parents=True, exist_ok=True)
        folder, number = base, 1
        while True:
            try:
                folder.mkdir()
            except FileExistsError:  # two that start in the same second
                number += 1
                folder = base.with_name(f"{base.name}_{number}")
            else:
                return folder
    except OSError as error:
        raise cannot_write(Path(error.filename or "."), error, "output") from None
