"""Plan: the phases of a training, each with its own epochs, learning rate, warm-up and early stopping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tlx.config.groups import EarlyStopping, GradualFreeze, LpFtFreeze, PhaseSettings, SurgicalFreeze
from tlx.config.roots import TrainConfig
from tlx.learner.optimization import Optimizer, Schedule
from tlx.network import freeze
from tlx.network.network import Network
from tlx.randomness import seed_for

PARTS = {"norm": "the normalisation layers", "bias": "the biases", "lora": "low-rank adapters"}  # by policy


@dataclass(frozen=True)
class Phase:
    """One phase: it trains to its end and hands its best weights on to the next."""

    index: int
    name: str
    epochs: int
    optimizer: Optimizer
    schedule: Schedule
    early_stopping: EarlyStopping

    def seed(self, seed: int) -> int:
        """The seed of this phase's order, augmentation and dropout: phases do not repeat each other's draws."""
        return seed_for(seed, "phase", self.index) if self.index else seed


@dataclass(frozen=True)
class Segment:
    """Epochs ``first`` to ``last`` of a phase, in which the same parameters train."""

    first: int
    last: int
    trained: frozenset[str]


def plan(config: TrainConfig) -> tuple[Phase, ...]:
    """Lay out the phases that a config's freeze policy asks for."""
    phases = []
    for index, name in enumerate(freeze.phases(config.freeze)):
        own = PhaseSettings()
        if isinstance(config.freeze, LpFtFreeze | SurgicalFreeze):
            own = config.freeze.probe if name == "probe" else config.freeze.finetune
        optimizer, schedule, stopping = config.optimizer, config.schedule, config.callbacks.early_stopping
        if index:
            optimizer = replace(optimizer, head_multiple=1.0)  # faster steps would undo the head that the probe fitted
        if own.lr is not None:
            optimizer = replace(optimizer, lr=own.lr)
        if own.warmup_epochs is not None:
            schedule = replace(schedule, warmup_epochs=own.warmup_epochs)
        if own.patience is not None:
            stopping = replace(stopping, patience=own.patience)
        phases.append(Phase(index, name, own.epochs or config.trainer.max_epochs, optimizer, schedule, stopping))
    return tuple(phases)


def segments(network: Network, phase: Phase) -> Iterator[Segment]:
    """Yield the stretches of a phase in which the same parameters train."""
    first, trained = 0, network.trained_in(0, phase.index)
    for epoch in range(1, phase.epochs):
        now = network.trained_in(epoch, phase.index)
        if now != trained:
            yield Segment(first, epoch - 1, trained)
            first, trained = epoch, now
    yield Segment(first, phase.epochs - 1, trained)


def awake(network: Network, phase: Phase, trained: frozenset[str] | None = None) -> str:
    """Say in words what trains in a phase, or in that stretch of it in which ``trained`` does."""
    anatomy = network.anatomy
    if network.head.kind == "neighbours":
        return f"{network.head.words}, which nothing trains"
    new = "the new layer" if network.head.solvable else "the new head"
    if isinstance(network.freeze, SurgicalFreeze) and freeze.undecided(network.freeze, anatomy, phase.index):
        return f"{new} and {network.freeze.stages} of {len(anatomy.stages)} stages, which the probe recommends"
    if trained is None:
        stretches = list(segments(network, phase))
        if isinstance(network.freeze, GradualFreeze) and len(stretches) > 1:
            every = network.freeze.every
            return f"{new}, and one stage more after {'each epoch' if every == 1 else f'every {every} epochs'}"
        trained = stretches[0].trained
    if trained == frozenset(anatomy.head):
        return f"{new} alone"
    if len(trained) == len(anatomy.trunk) + len(anatomy.head):
        return "the whole network"
    stages = sorted({anatomy.stage[name] for name in trained if name in anatomy.stage})
    whole = trained == anatomy.of_stages(stages) | frozenset(anatomy.head)
    names = ", ".join(anatomy.stages[index] for index in stages)
    part = PARTS.get(network.freeze.kind, f"parts of {names}")
    return f"{new} and {names if whole else part}"
