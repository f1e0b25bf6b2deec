"""``advise``: which case fits some images and a backbone, what accuracy to expect, and what it costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tlx.advice.advise import Advice
from tlx.advice.advise import advise as find_advice
from tlx.advice.ranking import rank
from tlx.config.cases import Auto
from tlx.config.roots import AdviseConfig, TrainConfig
from tlx.data.module import ending_workers
from tlx.data.open import open_source
from tlx.data.source import Source
from tlx.errors import InputError
from tlx.interruption import Interruption
from tlx.learner.trainer import make_trainer
from tlx.results import advice as told_advice
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.own_folder import must_lie_outside, nothing_left, own_folder
from tlx.results.page.advice import make_advice_page
from tlx.results.progress import bar
from tlx.results.result import data_name
from tlx.results.run_folder import shown
from tlx.storage import write_json
from tlx.verbs.train import announce_data

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
    must_lie_outside(Path(config.output or "outputs").expanduser(), config.data)
    folder, out = own_folder(config.output, "advice", data_name(config), ADVICE), console()
    interruption = Interruption("", lambda: "nothing is written; features that were computed are kept")
    clock = Clock(started, 0.0)
    with nothing_left(folder), interruption.watch(), ending_workers():
        with bar(out, "scan", shows=config.callbacks.progress) as progress:
            source = open_source(config.data, config.seed, lambda facts: None, progress)
        announce_data(config, source)
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
