"""Remarks: what trains, how, and what a person may not expect of that, said before the training."""

from __future__ import annotations

from collections.abc import Iterator

from tlx.config.groups import (
    BankFeatures,
    GradualFreeze,
    KnnSolver,
    LbfgsSolver,
    NoAugment,
    NoFeatures,
    OwnData,
    SgdSolver,
    UptoFreeze,
)
from tlx.config.roots import TrainConfig
from tlx.learner.plan import Phase, awake
from tlx.network.network import Network
from tlx.results.console import counted
from tlx.training.work import head_alone, on_features, solvable


def trains(config: TrainConfig, network: Network, phase: Phase, trained: frozenset[str] | None = None) -> str:
    """Say what trains in a phase, or in that stretch of it in which ``trained`` does."""
    if isinstance(config.solver, KnnSolver) and solvable(config, network, phase):
        return "nothing, training images vote"
    return awake(network, phase, trained)


def manner(config: TrainConfig, network: Network, phase: Phase) -> str:
    """Say how a phase trains."""
    once, epochs = "on features computed once", f"for {counted(phase.epochs, 'epoch')}"
    if solvable(config, network, phase):
        return f"by {config.solver.kind} {once}"
    return f"{epochs} {once}" if on_features(config, network, phase) else epochs


def remarks(config: TrainConfig, network: Network, phase: Phase) -> Iterator[str]:
    """Yield what is to be said of a phase."""
    policy, stages = network.freeze, network.anatomy.stages
    once = on_features(config, network, phase)
    if once:
        if idle := _idle(config, solvable(config, network, phase)):
            verb = "do" if len(idle) > 1 else "does"
            yield f"{' and '.join(idle)} {verb} nothing to features computed once; features=off trains on images"
    elif isinstance(config.features, NoFeatures) and head_alone(network, phase):
        yield from _live(config, network)
    elif isinstance(config.features, BankFeatures) and head_alone(network, phase):
        yield f"head.pool={network.head.pool.kind} is trained on images, the frozen trunk computed anew in each epoch"
    if not once and isinstance(config.data, OwnData) and config.data.cache != "none":
        where = "in memory" if config.data.cache == "ram" else f"below {config.data.cache_dir}"
        yield f"decoded images are kept {where} for the epochs after the first"
    if isinstance(policy, UptoFreeze) and head_alone(network, phase):
        yield f"freeze.stage={policy.stage} is the end of the trunk: all of it is frozen, as by freeze=trunk"
    if isinstance(policy, GradualFreeze) and (left := len(stages) - (phase.epochs - 1) // policy.every) > 0:
        asleep = (
            f"{'stages' if left > 1 else 'stage'} {', '.join(stages[:left])} {'stay' if left > 1 else 'stays'} frozen"
        )
        reached = f"{counted(phase.epochs, 'epoch')} reach {len(stages) - left} of {counted(len(stages), 'stage')}"
        ways = [f"trainer.max_epochs={len(stages) * policy.every + 1}"]
        if (faster := (phase.epochs - 1) // len(stages)) > 0:
            ways.append(f"freeze.every={faster}")
        yield f"{asleep}: {reached}; {' or '.join(ways)} reaches all"


def _live(config: TrainConfig, network: Network) -> Iterator[str]:
    """Say what features computed anew in every epoch cost, where they are the same in all of them."""
    if not isinstance(config.solver, LbfgsSolver | SgdSolver):
        yield f"solver={config.solver.kind} does nothing with features=off, which trains by gradient descent"
    if isinstance(config.augment, NoAugment) and not network.head.pool.learned:
        yield "the same features are computed in every epoch; solver=sgd trains the same head on features computed once"


def _idle(config: TrainConfig, solved: bool) -> list[str]:
    """Name what is set to something and does nothing to features; a solver has no use for a regularizer either."""
    drawn = isinstance(config.features, BankFeatures) and config.features.views
    mixing = bool(getattr(config.augment, "mixup", 0) or getattr(config.augment, "cutmix", 0))
    named = {
        "augment": not isinstance(config.augment, NoAugment) and not drawn,
        "mixing images (augment.mixup, augment.cutmix)": mixing and drawn,
        "regularizer": solved and any(value for key, value in vars(config.regularizer).items() if key != "kind"),
    }
    named["trainer.compile"] = config.trainer.compile
    named["trainer.checkpointing"] = config.trainer.checkpointing
    named["data.cache"] = isinstance(config.data, OwnData) and config.data.cache != "none"
    return [name for name, given in named.items() if given]
