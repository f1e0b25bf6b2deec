"""Batches: whether a training can make its steps with as many images as a batch has, asked before it trains."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl

from tlx.config.roots import TrainConfig
from tlx.data.module import bytes_of, workers_for
from tlx.data.shared_memory import PLACE, fitting
from tlx.data.source import Source
from tlx.errors import InputError
from tlx.learner.plan import Phase, plan, segments
from tlx.learner.trainer import shares_batches
from tlx.network.batch_norms import single
from tlx.network.freeze import asleep, undecided
from tlx.network.network import Network
from tlx.training.work import solvable


def must_train(config: TrainConfig, network: Network, images: int, trainer: pl.Trainer) -> None:
    """Make sure that no BatchNorm has to train on a single value a channel, with so many training ``images``.

    Raises:
        InputError: One has to.
    """
    batch = min(config.data.batch_size, images)
    if (batch if shares_batches(config.trainer) else batch // trainer.world_size) > 1:
        return
    for phase in plan(config):
        if solvable(config, network, phase):
            continue
        for trained in _trained(network, phase):
            sleeping = asleep(network, network.trunk, network.freeze, trained)
            if names := single(network, sleeping, network.trunk.image_size):
                asked, least = config.data.batch_size, 2 if shares_batches(config.trainer) else 2 * trainer.world_size
                what = f"data.batch_size={asked}: the BatchNorm {names[0]} cannot train on one image a step"
                raise InputError(what, f"give data.batch_size={least} or more{_besides(network, names)}")


def remarks(config: TrainConfig, network: Network, source: Source, world: int) -> Iterator[str]:
    """Yield what is unusual about the batches of a training, in so many processes."""
    images, wanted = len(source.train.labels), workers_for(source, config.data.workers)
    room = fitting(wanted, config.data.batch_size // world * bytes_of(network.trunk.image_size))
    if room < wanted:
        told = f"shared memory ({PLACE}) has room for {room} of {wanted} worker processes"
        yield f"{told}: {'images are read by this process' if not room else 'fewer read images'}"
    if all(solvable(config, network, phase) for phase in plan(config)):
        return
    batch, tail = config.data.batch_size, images % config.data.batch_size
    if batch > images:
        yield f"data.batch_size={batch:,} is more than there are: all {images:,} training images are one step"
    elif 0 < tail < 2 * world:
        left = "one image alone is" if tail == 1 else f"{tail} images are"
        yield f"{left} too few for a step: the last step of an epoch has {batch + tail:,}"


def _trained(network: Network, phase: Phase) -> Iterator[frozenset[str]]:
    """Yield what trains in a phase, stretch by stretch; everything where that is still to be chosen."""
    if undecided(network.freeze, network.anatomy, phase.index):
        yield frozenset((*network.anatomy.trunk, *network.anatomy.head))
    else:
        yield from (stretch.trained for stretch in segments(network, phase))


def _besides(network: Network, names: list[str]) -> str:
    """Name another way out, where all that is in the way is in the trunk, or in the head."""
    if all(name.startswith("head.") for name in names):
        return ", or head.norm=layer"
    can = hasattr(network.freeze, "batch_statistics") and all(name.startswith("trunk.") for name in names)
    return ", or freeze.batch_statistics=frozen" if can else ""
