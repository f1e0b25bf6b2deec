"""Remarks: what a person may not expect of what was asked for, said before the training."""

from __future__ import annotations

from collections.abc import Iterator

from tlx.config.groups import BankFeatures, GradualFreeze, NoAugment, OwnData, UptoFreeze
from tlx.config.roots import TrainConfig
from tlx.learner.plan import Phase
from tlx.network.network import Network
from tlx.results.console import counted
from tlx.training.work import head_alone, solvable


def remarks(config: TrainConfig, network: Network, phase: Phase) -> Iterator[str]:
    """Yield what is to be said of a phase."""
    policy, stages = network.freeze, network.anatomy.stages
    solved = solvable(config, network, phase)
    if solved:
        if idle := _idle(config):
            verb = "do" if len(idle) > 1 else "does"
            yield f"{' and '.join(idle)} {verb} nothing to features computed once; features=off trains epoch by epoch"
    elif isinstance(config.features, BankFeatures) and head_alone(network, phase):
        cause = f"head={network.head.kind}" if network.head.kind != "linear" else f"head.pool={network.head.pool.kind}"
        yield f"{cause} is trained epoch by epoch, the frozen trunk computed anew each time"
    if not solved and isinstance(config.data, OwnData) and config.data.cache != "none":
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


def _idle(config: TrainConfig) -> list[str]:
    """Name the groups that are set to something and act on epochs only."""
    regularizing = any(value for key, value in vars(config.regularizer).items() if key != "kind")
    drawn = isinstance(config.features, BankFeatures) and config.features.views
    named = {"augment": not isinstance(config.augment, NoAugment) and not drawn, "regularizer": regularizing}
    named["data.cache"] = isinstance(config.data, OwnData) and config.data.cache != "none"
    return [name for name, given in named.items() if given]
