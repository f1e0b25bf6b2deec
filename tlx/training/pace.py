"""Pace: the precision and the memory format of a run, by a trial where there is enough work to pay for one.

The choice is a decision of the run, which a resumed run takes over, and is remembered on disk: what else the machine
did during a trial changes neither a resumed run nor the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from tlx.config.groups import CustomBackbone
from tlx.config.groups import Trainer as TrainerConfig
from tlx.config.roots import TrainConfig
from tlx.learner.checkpoints import LAST
from tlx.learner.plan import Phase, plan
from tlx.learner.processor import mixed_precision, name_of
from tlx.learner.trial import STEPS, VISITS, Pace, Step, chosen, inference_steps, timed, training_steps
from tlx.network.cost import multiply_adds
from tlx.network.depths import Depths
from tlx.network.memory_format import formats, lay_out
from tlx.network.network import Network
from tlx.results.console import console, say
from tlx.results.decisions import Decisions
from tlx.training.remembered import Remembered

if TYPE_CHECKING:
    from tlx.training.work import Work

SHARE = 0.05  # of the images that the work passes through the network, at most so many pass in its trial
LEAST = 10**12  # multiply-adds of work that pays for a trial: some fifteen seconds of a processor's core
BACKWARD = 3  # a pass forwards and backwards costs so many forward passes


def settle_pace(work: Work, network: Network, phase: Phase) -> Pace:
    """Settle how a phase is trained and what it trains is measured, and lay out the network's weights for it.

    The same phase gets the same answer however often it asks. Ask again for a network that is built again: its weights
    lie in the usual format. What a resumed run trained before there were such decisions stays as it was.
    """
    trainer, config = work.trainer(phase.epochs), work.config
    name = plan(config)[phase.index].name  # the arms of a race are one phase, and run at one pace
    batch = max(1, config.data.batch_size // trainer.world_size)
    passes = len(work.source.train.labels) * phase.epochs // trainer.world_size
    old = work.resuming and (work.folder.checkpoints / phase.name / LAST).is_file()
    trains = network.trained_in(phase.epochs - 1, phase.index)

    def steps(device: torch.device) -> Callable[[Pace], Step]:
        return training_steps(network, phase, batch, device, config.trainer.gradient_clip)

    with work.clock.phase("fit"):
        pace = _settled(
            f"pace/{name}",
            config,
            network.trunk,
            trainer,
            work.decisions,
            steps,
            passes=0 if old else passes,
            batch=batch,
            cost=BACKWARD if any(part.startswith("trunk.") for part in trains) else 1,
            trains=trains,
        )
    lay_out(network.trunk, pace.memory_format)
    return pace


def inference_pace(
    name: str, config: TrainConfig, network: Network | Depths, images: int, trainer: pl.Trainer, decisions: Decisions
) -> Pace:
    """Settle how a frozen network passes over ``images`` images (of all splits together), without a backward pass.

    Returns the pace and changes nothing: the caller lays out the trunk (a ``Depths`` is its own) and makes a trainer of
    that precision. ``name`` is that of the decision, ``pace/NAME``: passes whose features are compared or joined share
    one, and so one precision.
    """
    batch = max(1, config.data.batch_size // trainer.world_size)
    return _settled(
        f"pace/{name}",
        config,
        network if isinstance(network, Depths) else network.trunk,
        trainer,
        decisions,
        lambda device: inference_steps(network, batch, device),
        passes=images // trainer.world_size,
        batch=batch,
        cost=1,
        trains=None,
    )


def _settled(
    name: str,
    config: TrainConfig,
    trunk: Any,
    trainer: pl.Trainer,
    decisions: Decisions,
    steps: Callable[[torch.device], Callable[[Pace], Step]],
    passes: int,
    batch: int,
    cost: int,
    trains: frozenset[str] | None,
) -> Pace:
    device = trainer.strategy.root_device
    paces = open_paces(config.trainer, trunk, device)
    told = trainer.is_global_zero

    def find() -> dict[str, str]:
        if config.trainer.strategy == "fsdp":  # a copy on one device takes what the shards are there to save
            return asdict(paces[0])
        worthy = pays(passes, batch, len(paces), cost, trunk)
        # A pass takes over what is remembered whatever its size: rows at another precision would not be found again.
        if len(paces) == 1 or not (worthy or trains is None):
            return asdict(paces[0])
        folder = Path(config.trainer.cache_dir).expanduser() if config.trainer.cache_dir else None
        remembered = Remembered(folder, _key(config, trunk, device, batch, trains, paces))
        if (known := remembered.read()) in (asdict(pace) for pace in paces):
            if told and (worthy or known != asdict(paces[0])):
                say(console(), "pace", f"{Pace(**known)}: the fastest when this was timed here before")
            return dict(known)
        if not worthy:
            return asdict(paces[0])
        seconds = timed(paces, steps(device), device)
        pace = chosen(seconds, paces[0])
        if told and seconds:  # where no step ran, there may be more memory next time
            remembered.write(asdict(pace), seconds_a_step={str(way): round(s, 6) for way, s in seconds.items()})
        if told:
            say(console(), "pace", _told(pace, paces[0], seconds, "inference" if trains is None else "training"))
        return asdict(pace)

    pace: Pace = decisions.take(name, find, Pace.read)
    return pace


def open_paces(config: TrainerConfig, trunk: Any, device: torch.device) -> list[Pace]:
    """List the paces that a config leaves open, first the usual one: what it asks for, or 32 and the trunk's format."""
    mixed = mixed_precision(device)
    precisions = ["32", *([mixed] if mixed else [])] if config.precision == "auto" else [config.precision]
    orders = formats(trunk) if config.memory_format == "auto" else [config.memory_format]
    return [Pace(precision, order) for precision, order in product(precisions, orders)]


def pays(passes: int, batch: int, ways: int, cost: int, trunk: Any) -> bool:
    """Whether so many passes of an image are work enough for a trial: a rule of counts alone, the same everywhere."""
    trial = ways * VISITS * STEPS * batch
    return trial <= SHARE * passes and multiply_adds(trunk, trunk.image_size) * passes * cost >= LEAST


def _key(
    config: TrainConfig,
    trunk: Any,
    device: torch.device,
    batch: int,
    trains: frozenset[str] | None,
    paces: list[Pace],
) -> dict[str, Any]:
    """Say what the choice depends on: the machine and the shape of the work, never the weights."""
    backbone = config.backbone
    shapes = [(name, tuple(p.shape)) for name, p in trunk.named_parameters()]
    return {
        "processor": name_of(device),
        "torch": torch.__version__,
        "backbone": [backbone.target if isinstance(backbone, CustomBackbone) else backbone.name, backbone.kwargs],
        "shapes": _digest(shapes),
        "cut": asdict(trunk.point),
        "image_size": trunk.image_size,
        "batch_size": batch,
        "checkpointing": config.trainer.checkpointing,
        "trains": "inference"
        if trains is None
        else _digest(sorted(part for part in trains if part.startswith("trunk."))),
        "paces": [asdict(pace) for pace in paces],
    }


def _digest(value: object) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()


def _told(pace: Pace, usual: Pace, seconds: dict[Pace, float], what: str) -> str:
    if not seconds:
        return f"{pace}: a copy could not make any step of a trial of {what}"
    if pace == usual:
        return f"{pace}: nothing else is clearly faster, by a trial of {what} steps on a copy"
    if usual not in seconds:
        return f"{pace}: {usual} fails here, by a trial of {what} steps on a copy"
    gain = seconds[usual] / seconds[pace]
    return f"{pace}: {gain:.2g} times as fast as {usual}, by a trial of {what} steps on a copy"
