"""Work: what every part of a training needs, put together once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from tlx.config.groups import (
    AutoCut,
    BankFeatures,
    KnnSolver,
    LinearHead,
    NoAugment,
    NoFreeze,
    OwnData,
    PretrainedInit,
    RaceInit,
    ScratchInit,
    SgdSolver,
)
from tlx.config.roots import TrainConfig
from tlx.data.module import ImageModule
from tlx.data.source import Source
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.interruption import Interruption
from tlx.learner.loggers import open_logger
from tlx.learner.plan import Phase
from tlx.learner.trainer import make_trainer
from tlx.network import network as networks
from tlx.network.activations import checkpoint
from tlx.network.freeze import TwoPhases, undecided
from tlx.network.network import Network, Surgery
from tlx.preprocessing import Preprocessing
from tlx.results.clock import Clock
from tlx.results.decisions import Decisions
from tlx.results.run_folder import RunFolder
from tlx.training.banks import Banks


@dataclass(frozen=True)
class Work:
    """A run while it goes on: what was asked for, the images, the folder, and who watches."""

    config: TrainConfig
    source: Source
    preprocessing: Preprocessing
    folder: RunFolder
    clock: Clock
    interruption: Interruption
    decisions: Decisions
    resuming: bool
    banks: Banks

    def trainer(self, epochs: int | None = None, varies: bool = False, precision: str | None = None) -> pl.Trainer:
        """Create a Lightning trainer; ``varies``: whether what trains changes between its epochs.

        ``precision``: what a trial settled; None: the config's own, and 32 where that is ``auto``.
        """
        config = self.config.trainer if epochs is None else replace(self.config.trainer, max_epochs=epochs)
        if precision is not None:
            config = replace(config, precision=precision)
        return make_trainer(config, self.folder.path, self.logger, varies)

    @cached_property
    def logger(self) -> Logger | None:
        """The logger of the whole run, which is opened when something is first logged."""
        return open_logger(self.config.logger, self.folder.path, self.folder.read_config())

    def images(self, trainer: pl.Trainer, seed: int | None = None) -> ImageModule:
        """Prepare the images as the backbone wants them, in the order of ``seed``."""
        return image_module(self.config, self.source, self.preprocessing, trainer, seed)


def image_module(
    config: TrainConfig, source: Source, preprocessing: Preprocessing, trainer: pl.Trainer, seed: int | None = None
) -> ImageModule:
    """Prepare a source's images as the backbone wants them, in the order of ``seed`` (by default the config's)."""
    data = config.data
    if len(source.train.labels) < 2 * trainer.world_size:
        raise InputError(f"{len(source.train.labels)} training images are too few", "give two a process")
    return ImageModule(
        source,
        Prepare(preprocessing),
        config.augment,
        data.batch_size,
        data.workers,
        data.balance,
        config.seed if seed is None else seed,
        place=(trainer.global_rank, trainer.world_size),
        cache=data.cache if isinstance(data, OwnData) else "none",
        cache_dir=Path(data.cache_dir).expanduser() if isinstance(data, OwnData) else Path(),
    )


def assemble(config: TrainConfig, source: Source) -> tuple[Network, Preprocessing, Surgery]:
    """Build the network that the config describes for a source's classes; of a race, the pretrained arm's.

    Raises:
        InputError: Whatever is wrong with a part of it; a race that leaves anything frozen.
    """
    assert not isinstance(config.cut, AutoCut), "cut=auto becomes a concrete cut before anything is built"
    init: PretrainedInit | ScratchInit = config.init
    views = config.features.views if isinstance(config.features, BankFeatures) else 0
    if views and isinstance(config.augment, NoAugment):
        what = f"features.views={views} draws views by augment, and augment=none draws none"
        raise InputError(what, "choose augment=light, standard or strong, or set features.views=0")
    if config.regularizer.l2_sp and isinstance(init, ScratchInit | RaceInit):
        what = f"regularizer.l2_sp pulls towards pretrained weights, and init={init.kind} trains random ones"
        raise InputError(what, "choose init=pretrained, or set regularizer.l2_sp=0")
    if isinstance(config.init, RaceInit):
        if not isinstance(config.freeze, NoFreeze):
            what = f"init=race trains whole networks, freeze={config.freeze.kind} does not"
            raise InputError(what, "choose freeze=none, or init=pretrained")
        init = config.init.pretrained()
    solving = isinstance(config.features, BankFeatures) and isinstance(config.head, LinearHead)
    if isinstance(config.solver, KnnSolver) and isinstance(config.freeze, TwoPhases) and solving:
        what = f"solver=knn trains nothing that freeze={config.freeze.kind} could go on from"
        raise InputError(what, "choose solver=lbfgs, or freeze=trunk")
    network, preprocessing, surgery = networks.build(
        config.backbone,
        init,
        config.cut,
        config.freeze,
        config.head,
        num_classes=len(source.classes),
        seed=config.seed,
        image_size=config.data.image_size,
        drop_path=config.regularizer.drop_path,
    )
    if config.trainer.checkpointing:
        checkpoint(network)
    return network, preprocessing, surgery


def on_features(config: TrainConfig, network: Network, phase: Phase) -> bool:
    """Whether a phase trains on features computed once: the head alone, on a pooling without parameters."""
    return isinstance(config.features, BankFeatures) and head_alone(network, phase) and not network.head.pool.learned


def solvable(config: TrainConfig, network: Network, phase: Phase) -> bool:
    """Whether a solver trains a phase's head on features computed once, without epochs: a linear one."""
    by_descent = isinstance(config.solver, SgdSolver)
    return on_features(config, network, phase) and network.head.solvable and not by_descent


def head_alone(network: Network, phase: Phase) -> bool:
    """Whether a phase trains the head and nothing else, as far as that is decided."""
    head = frozenset(network.anatomy.head)
    alone = all(network.trained_in(epoch, phase.index) == head for epoch in range(phase.epochs))
    return alone and not undecided(network.freeze, network.anatomy, phase.index)
