"""``train``: one training, from images to a measured network in its folder."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch

from tlx.config.groups import FolderData, MemoryFeatures
from tlx.config.roots import TrainConfig
from tlx.data.module import ImageModule, ending_workers
from tlx.data.open import open_source
from tlx.data.source import SPLITS, Source, fingerprint
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.features.bank import compute
from tlx.features.solver import install, solve
from tlx.interruption import Interruption
from tlx.learner.checkpoints import Checkpoints
from tlx.learner.learner import Learner
from tlx.learner.metrics import measure
from tlx.learner.progress import ProgressBar
from tlx.learner.trainer import make_trainer
from tlx.network import freeze
from tlx.network import network as networks
from tlx.network.backbone import Preprocessing
from tlx.network.inference import Classifier, predict
from tlx.network.network import Network, Surgery
from tlx.results.clock import Clock
from tlx.results.console import amount, console, say, summary
from tlx.results.result import compose
from tlx.results.run_folder import RunFolder
from tlx.storage import read_tensors, write_json

log = logging.getLogger("tlx")

Logits = dict[str, torch.Tensor]  # by split: (N, K)


def train(config: TrainConfig, folder: RunFolder, clock: Clock, command: str, resuming: bool = False) -> dict[str, Any]:
    """Train as the config says; return what ``result.json`` holds.

    Raises:
        TlxError: Whatever a person can mend.
    """
    out = console()
    interruption = Interruption(folder.resume_command)
    with interruption.watch(), ending_workers():
        with clock.phase("data"):
            source = open_source(config.data, config.seed)
            hashes = {split: fingerprint(source.split(split)) for split in SPLITS}
        network, preprocessing, surgery = assemble(config, source)
        trainer = make_trainer(config.trainer, folder.path, config.logger.tensorboard)
        images = image_module(config, source, preprocessing, trainer)
        if trainer.is_global_zero:
            announce(config, source, network, surgery)

        frozen = freeze.fingerprint(freeze.frozen_tensors(network, network.trained))
        started = freeze.combined(freeze.fingerprint(network.trunk.state_dict()))
        if solvable(config, network):
            logits, solver = _solve(config, network, images, trainer, clock)
        else:
            _fit(config, network, images, trainer, clock, folder, interruption, resuming)
            _certify(network, frozen)  # the state that training ended with, before the best epoch's takes its place
            logits, solver = _best(network, images, trainer, clock, folder), None
        _certify(network, frozen)

        with clock.phase("evaluate"):
            metrics = {split: measure(logits[split], _labels(source, split), list(source.classes)) for split in SPLITS}
        if not trainer.is_global_zero:
            return {}
        with clock.phase("report"):
            networks.save(folder.model, network, config.backbone, config.head, preprocessing, list(source.classes))
        result = compose(
            config,
            source.classes,
            metrics=metrics,
            parameters=networks.counts(network, surgery),
            surgery=networks.described(network, surgery),
            solver=solver,
            frozen_unchanged=True,  # assert_unmoved would have ended the run
            images={split: len(source.split(split).labels) for split in SPLITS},
            fingerprints={
                "data": freeze.combined(hashes),
                "test": hashes["test"],
                "weights": started,
                "model": freeze.combined(freeze.fingerprint(network.state_dict())),
            },
            seconds=clock.read(),
            command=command,
            run_dir=str(folder.path),
            config=folder.read_config(),
        )
        write_json(folder.result, result)
        summary(out, result)
    return result


def assemble(config: TrainConfig, source: Source) -> tuple[Network, Preprocessing, Surgery]:
    """Build the network that the config describes for a source's classes."""
    return networks.build(
        config.backbone,
        config.init,
        config.cut,
        config.freeze,
        config.head,
        num_classes=len(source.classes),
        seed=config.seed,
        image_size=config.data.image_size,
    )


def image_module(config: TrainConfig, source: Source, preprocessing: Preprocessing, trainer: pl.Trainer) -> ImageModule:
    """Prepare a source's images as the backbone wants them."""
    data = config.data
    if len(source.train.labels) < 2 * trainer.world_size:
        raise InputError(f"{len(source.train.labels)} training images are too few", "give two a process or more")
    return ImageModule(
        source,
        Prepare(**asdict(preprocessing)),
        config.augment,
        data.batch_size,
        data.workers,
        data.balance,
        config.seed,
        place=(trainer.global_rank, trainer.world_size),
    )


def announce(config: TrainConfig, source: Source, network: Network, surgery: Surgery) -> None:
    """Say what is about to happen."""
    out = console()
    counts = ", ".join(f"{len(source.split(s).labels):,} {s}" for s in SPLITS)
    say(out, "data", f"{config.data.kind}, {len(source.classes)} classes, images: {counts}")
    for note in source.notes:
        say(out, "", note)
    if config.backbone.weights == "package" and isinstance(config.data, FolderData):
        say(
            out,
            "",
            "the embedded backbone has seen rendered letters only; for photographs: backbone=resnet50 or another",
        )
    start = f"weights from {surgery.weights.name}" if surgery.weights else "random weights"
    say(out, "network", f"{config.backbone.name}, {start}, {amount(surgery.kept)} parameters kept")
    new = "the new layer alone" if network.head.solvable else "the new head alone"
    what = new if network.trunk_frozen else "the whole network"
    how = "on features computed once" if solvable(config, network) else f"for {config.trainer.max_epochs} epochs"
    say(out, "training", f"{what}, {how}")


def solvable(config: TrainConfig, network: Network) -> bool:
    """Whether the head can be solved on features computed once: a frozen trunk, a linear head, and features wanted."""
    return isinstance(config.features, MemoryFeatures) and network.trunk_frozen and network.head.solvable


def _solve(
    config: TrainConfig, network: Network, images: ImageModule, trainer: pl.Trainer, clock: Clock
) -> tuple[Logits, dict[str, Any]]:
    """Compute features once and solve the head on them; test features come after the head is settled."""
    _show_progress(config, trainer)
    with clock.phase("features"):
        banks = {split: compute(network, images, trainer, split) for split in ("train", "val")}
    with clock.phase("fit"):
        weights = images.class_weights(solving=True)
        solution = solve(banks["train"], banks["val"], len(images.source.classes), config.solver, weights)
        install(solution, network.head.linear)
        log.info("solver: %s", solution.path)
    with clock.phase("features"):
        banks["test"] = compute(network, images, trainer, "test")
    with torch.no_grad():
        logits = {split: network.head.linear(torch.from_numpy(bank.features)) for split, bank in banks.items()}
    return logits, {"kind": config.solver.kind, "strength": solution.strength, "path": list(solution.path)}


def _fit(
    config: TrainConfig,
    network: Network,
    images: ImageModule,
    trainer: pl.Trainer,
    clock: Clock,
    folder: RunFolder,
    interruption: Interruption,
    resuming: bool,
) -> None:
    """Train by gradient descent, from the last saved state where there is one."""
    learner = Learner(
        network,
        len(images.source.classes),
        config.optimizer,
        config.schedule,
        config.regularizer,
        images.class_weights(),
        config.seed,
    )
    checkpoints = Checkpoints(folder.path, config.callbacks, interruption)
    trainer.callbacks.append(checkpoints)  # type: ignore[attr-defined]
    _show_progress(config, trainer, checkpoints)
    state = str(folder.last) if resuming and folder.last.is_file() else None
    with clock.phase("fit"), interruption.defer():
        trainer.fit(learner, datamodule=images, ckpt_path=state)


def _best(network: Network, images: ImageModule, trainer: pl.Trainer, clock: Clock, folder: RunFolder) -> Logits:
    """Take the weights of the best epoch on validation data, and classify every split with them."""
    network.load_state_dict(read_tensors(folder.best))
    with clock.phase("evaluate"):
        return {split: predict(trainer, Classifier(network), images.plain_loader(split)) for split in SPLITS}


def _certify(network: Network, frozen: dict[str, str]) -> None:
    """Prove that what is frozen has the fingerprints it had before."""
    freeze.assert_unmoved(frozen, freeze.fingerprint(freeze.frozen_tensors(network, network.trained)))


def _show_progress(config: TrainConfig, trainer: pl.Trainer, checkpoints: Checkpoints | None = None) -> None:
    if config.callbacks.progress:
        trainer.callbacks.append(ProgressBar(console(), checkpoints))  # type: ignore[attr-defined]


def _labels(source: Source, split: str) -> torch.Tensor:
    return torch.from_numpy(source.split(split).labels)
