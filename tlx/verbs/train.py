"""``train``: surgery, training, measurement, and a run folder with all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tlx.config.groups import AutoCut, OwnData, RaceInit
from tlx.config.roots import TrainConfig
from tlx.data.module import ending_workers
from tlx.data.open import open_source
from tlx.data.source import SPLITS, Source, fingerprint
from tlx.errors import InputError
from tlx.features.temperature import fit_temperature
from tlx.interruption import Interruption
from tlx.learner.loggers import conclude
from tlx.learner.metrics import measure, tempered
from tlx.learner.plan import awake, plan
from tlx.learner.trainer import make_trainer
from tlx.network import model_folder
from tlx.network import network as networks
from tlx.network.fingerprint import combined, hashed
from tlx.network.network import Network, Surgery
from tlx.results import data_table, predictions
from tlx.results import profile as profiles
from tlx.results.clock import Clock
from tlx.results.console import amount, console, say, summary
from tlx.results.decisions import Decisions
from tlx.results.meter import Meter
from tlx.results.predictions import predicted
from tlx.results.progress import bar
from tlx.results.result import compose
from tlx.results.run_folder import RunFolder, shown
from tlx.storage import read_json, write_json
from tlx.training import batches
from tlx.training.banks import Banks
from tlx.training.batches import must_train
from tlx.training.doubts import doubts
from tlx.training.page import make_page
from tlx.training.phases import train_phases
from tlx.training.race import race
from tlx.training.remarks import manner, remarks, trains
from tlx.training.space import must_have_room
from tlx.training.survey import Survey, settle_cut, side_profile
from tlx.training.work import Work, assemble

MEASURED = ("val", "test")  # whose predictions are kept


def train(
    config: TrainConfig,
    folder: RunFolder,
    clock: Clock,
    command: str,
    resuming: bool = False,
    source: Source | None = None,
    survey: Survey | None = None,
) -> dict[str, Any]:
    """Train as the config says; return what ``result.json`` holds.

    ``source``: the images, where they are open and announced already; ``survey``: what the untrained backbone makes of
    them, where somebody has looked.

    Raises:
        TlxError: Whatever a person can mend.
    """
    out, meter = console(), Meter()
    interruption = Interruption(folder.resume_command)
    with interruption.watch(), ending_workers():
        trainer = make_trainer(config.trainer, folder.path)
        with clock.phase("data"):
            handed = source is not None
            source = source or opened(config, folder, trainer.is_global_zero)
            hashes = {split: fingerprint(source.split(split)) for split in SPLITS}
        decisions = Decisions(folder.decisions, trainer.is_global_zero, trainer.strategy.broadcast)
        asked = config
        banks = Banks(config, decisions)
        config, looked = settle_cut(config, source, trainer, decisions, clock, banks)
        network, preprocessing, surgery = assemble(config, source)
        work = Work(config, source, preprocessing, folder, clock, interruption, decisions, resuming, banks)
        must_train(config, network, len(source.train.labels), trainer)
        if trainer.is_global_zero:
            must_have_room(folder, config, network)
            if not handed:  # who hands them over has told
                announce_data(config, source)
            announce(config, source, network, surgery, trainer.world_size)
        folder.began = True

        started, raced = combined(hashed(network.trunk.state_dict())), None
        profile, aside = side_profile(work, network, surgery.weights)
        survey = looked or aside or survey
        if isinstance(config.init, RaceInit):
            network, surgery, outcome, raced = race(work, config.init)
        else:
            outcome = train_phases(work, network, survey)

        with clock.phase("evaluate"):
            classes, labels = list(source.classes), {s: _labels(source, s) for s in SPLITS}
            metrics = {s: measure(outcome.logits[s], labels[s], classes) for s in SPLITS}
            temperature = fit_temperature(outcome.logits["val"], labels["val"])
            scaled = {s: tempered(outcome.logits[s], labels[s], temperature) for s in MEASURED}
        if not trainer.is_global_zero:
            return {}
        with clock.phase("report"):
            final = networks.finished(network)
            model_folder.save(
                folder.model, final, config.backbone, final.head.config, preprocessing, classes, temperature
            )
            said = {s: predicted(source.split(s), labels[s], outcome.logits[s], temperature) for s in MEASURED}
            predictions.write(folder.predictions, said, classes)
            if profile is not None:
                profiles.write(folder.path, profile, len(source.classes))
        against = doubts(asked, len(source.train.labels), profile)
        result = compose(
            asked,
            source.classes,
            metrics=metrics,
            temperature={"value": temperature, **scaled},
            parameters=networks.counts(network, surgery),
            surgery={**networks.described(network, surgery), "trained": awake(network, plan(config)[-1])},
            solver=outcome.solver,
            race=raced,
            decisions={name: taken for name, taken in decisions.taken.items() if name != "profile"},
            profile=profile,
            advice=_advised(folder),
            doubts=against,
            bank=_as_written(banks.tidy(), folder),
            certificate=outcome.certificate,
            best=outcome.best,
            frozen_unchanged=True,  # the certificate would have ended the run
            images={split: len(source.split(split).labels) for split in SPLITS},
            images_left_out=source.facts["left_out"],
            fingerprints={
                "data": combined(hashes),
                "test": hashes["test"],
                "weights": started,
                "model": combined(hashed(final.state_dict())),
            },
            seconds=clock.read(),
            cost=meter.read(),
            command=command,
            run_dir=str(folder.path),
            config=folder.read_config(),
        )
        write_json(folder.result, result)
        for trouble in banks.troubles:
            say(out, "bank", f"{trouble}: features stay in memory, and the next run computes them again", "yellow")
        if profile is not None:
            if not isinstance(asked.cut, AutoCut):  # whose profile stands above the training
                profiles.show(out, profile)
            say(out, "profile", profiles.sentence(profile))
        summary(out, result)
        for doubt in against:
            say(out, "doubt", doubt, "yellow")
        if config.report:
            make_page(work, network, final, surgery, said["test"])
        if work.logger is not None:
            pictures = ("surgery", "confusion", "reliability", "curve_loss", "curve_accuracy")
            conclude(work.logger, metrics, {name: folder.plots / f"{name}.png" for name in pictures})
    return result


def opened(config: TrainConfig, folder: RunFolder, writes: bool) -> Source:
    """Open the images; what is known of them stands in ``data.json``, also where they are refused."""

    def record(facts: dict[str, Any]) -> None:
        if writes:
            write_json(folder.data, facts)
            if facts["bad"]:
                say(console(), "data", f"images that cannot be used are listed in {shown(folder.data)}", "yellow")

    with bar(console(), "scan", shows=writes and config.callbacks.progress) as progress:
        source = open_source(config.data, config.seed, record, progress)
    if writes:
        write_json(folder.data, source.facts)
    return source


def announce(config: TrainConfig, source: Source, network: Network, surgery: Surgery, world: int = 1) -> None:
    """Say what is about to happen, in ``world`` processes."""
    out = console()
    start = f"weights from {surgery.weights.name}" if surgery.weights else "random weights"
    if surgery.weights and (run := getattr(config.init, "run", None)):
        start = f"weights of the run {shown(Path(run).expanduser().absolute())}"
    if isinstance(config.init, RaceInit):
        start += " against random ones"
    say(out, "network", f"{config.backbone.name}, {start}, {amount(surgery.kept)} parameters kept")
    for phase in plan(config):
        label = "training" if phase.name == "train" else phase.name
        say(out, label, f"{trains(config, network, phase)}, {manner(config, network, phase)}")
        for remark in remarks(config, network, phase):
            say(out, "", remark)
    for remark in batches.remarks(config, network, source, world):
        say(out, "", remark)


def announce_data(
    config: TrainConfig, source: Source, table: Callable[[Console, dict[str, Any]], None] = data_table.brief
) -> None:
    """Say which images there are, and what is to be known of them; ``table`` prints the facts."""
    out = console()
    counts = ", ".join(f"{len(source.split(s).labels):,} {s}" for s in SPLITS)
    place = next((str(value) for name in ("root", "file", "name") if (value := getattr(config.data, name, None))), "")
    what = f"{config.data.kind} {shown(Path(place))}" if place else config.data.kind
    say(out, "data", f"{what}, {len(source.classes)} classes, images: {counts}")
    table(out, source.facts)
    data_table.remarks(out, source.facts)
    if config.backbone.weights == "package" and isinstance(config.data, OwnData):
        say(
            out,
            "",
            "the embedded backbone has seen rendered letters only; for photographs: backbone=resnet50 or another",
        )


def _advised(folder: RunFolder) -> Any:
    """Return the verdict that a run was started by; None where there is none, or nobody can read it any more."""
    try:
        return read_json(folder.advice)["verdict"] if folder.advice.is_file() else None
    except (InputError, KeyError, TypeError):
        return None


def _as_written(bank: dict[str, Any] | None, folder: RunFolder) -> dict[str, Any] | None:
    """Return what is told of the bank, its folder as the config has it: what the environment gives is not kept."""
    written = (folder.read_config().get("features") or {}).get("dir")
    return {**bank, "dir": written} if bank and isinstance(written, str) and "${" in written else bank


def _labels(source: Source, split: str) -> torch.Tensor:
    return torch.from_numpy(source.split(split).labels)
