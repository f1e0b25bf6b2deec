"""Freeze: which parameters train in which phase and epoch, and which modules sleep meanwhile."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

from torch import nn

from tlx.config.groups import (
    BiasFreeze,
    GradualFreeze,
    LastFreeze,
    LoraFreeze,
    LpFtFreeze,
    NoFreeze,
    NormFreeze,
    PatternFreeze,
    SurgicalFreeze,
    TrunkFreeze,
    UptoFreeze,
)
from tlx.errors import InputError
from tlx.network.anatomy import TRUNK, Anatomy
from tlx.network.lora import is_adapter

TwoPhases = LpFtFreeze | SurgicalFreeze
Freeze = (
    TrunkFreeze
    | NoFreeze
    | UptoFreeze
    | LastFreeze
    | GradualFreeze
    | NormFreeze
    | BiasFreeze
    | PatternFreeze
    | LoraFreeze
    | TwoPhases
)


def phases(policy: Freeze) -> tuple[str, ...]:
    """Name the phases of a policy, each of which trains to its end and hands on its best weights."""
    return ("probe", "finetune") if isinstance(policy, TwoPhases) else ("train",)


def undecided(policy: Freeze, anatomy: Anatomy, phase: int) -> bool:
    """Whether it is still open which stages train in a phase: the phase before it will tell."""
    return isinstance(policy, SurgicalFreeze) and phase > 0 and anatomy.chosen is None


def trained(policy: Freeze, anatomy: Anatomy, epoch: int, phase: int = 0) -> frozenset[str]:
    """Name the parameters that train in an epoch of a phase: a function of these alone, never of events.

    Raises:
        InputError: A stage or a pattern that fits nothing, with what there is; nothing would train.
    """
    head = isinstance(policy, PatternFreeze) and not policy.head
    chosen = frozenset(() if head else anatomy.head) | _of_trunk(policy, anatomy, epoch, phase)
    if not chosen and anatomy.head:  # a head of stored neighbours has nothing to train
        raise InputError(f"freeze={policy.kind} leaves 0 trainable parameters in epoch {epoch}", "choose freeze=trunk")
    return chosen


def _of_trunk(policy: Freeze, anatomy: Anatomy, epoch: int, phase: int) -> frozenset[str]:
    everything = frozenset(anatomy.trunk)
    if isinstance(policy, TrunkFreeze) or (isinstance(policy, TwoPhases) and phase == 0):
        return frozenset()
    if isinstance(policy, NoFreeze | LpFtFreeze):
        return everything
    if isinstance(policy, UptoFreeze):
        return everything - anatomy.upto(policy.stage)
    if isinstance(policy, LastFreeze):
        _must_have(policy.stages, anatomy)
        return anatomy.last(policy.stages)
    if isinstance(policy, GradualFreeze):
        return anatomy.last(min(epoch // policy.every, len(anatomy.stages)))
    if isinstance(policy, SurgicalFreeze):
        _must_have(policy.stages, anatomy)
        return anatomy.of_stages(anatomy.chosen or ())
    if isinstance(policy, LoraFreeze):
        return frozenset(filter(is_adapter, anatomy.trunk))
    if isinstance(policy, PatternFreeze):
        return _matching(policy.train, anatomy)
    found = anatomy.norms if isinstance(policy, NormFreeze) else anatomy.biases
    if not found:
        what = "normalisation layers" if isinstance(policy, NormFreeze) else "biases"
        raise InputError(f"freeze={policy.kind}: the trunk has no {what}", "choose another policy, or another cut")
    return found


def _must_have(count: int, anatomy: Anatomy) -> None:
    if count > len(anatomy.stages):
        listed = ", ".join(anatomy.stages)
        what = f"freeze.stages={count} is more than the trunk has"
        raise InputError(what, f"at most {len(anatomy.stages)}: {listed}")


def _matching(patterns: Collection[str], anatomy: Anatomy) -> frozenset[str]:
    names = [name.removeprefix(TRUNK) for name in anatomy.trunk]
    found: set[str] = set()
    if not patterns:
        some = ", ".join(dict.fromkeys([*names[:2], *names[-2:]]))
        what = "freeze.train names nothing that trains: of the trunk, 0 trainable parameters"
        raise InputError(what, f"give expressions, 'freeze.train=[...]', over names such as {some}; or freeze=trunk")
    for pattern in patterns:
        try:
            rule = re.compile(pattern)
        except re.error as error:
            raise InputError(f"freeze.train: {pattern!r} is no regular expression ({error})", "escape it") from None
        matched = [name for name in names if rule.search(name)]
        if not matched:
            near = get_close_matches(pattern, names, n=3, cutoff=0.0)
            listed = ", ".join(dict.fromkeys([*near, *names[:2], *names[-2:]]))
            raise InputError(f"freeze.train: {pattern!r} matches no parameter", f"their names are such as {listed}")
        found |= {TRUNK + name for name in matched}
    return frozenset(found)


def sleeping(module: nn.Module, trained_names: frozenset[str], prefix: str = "") -> list[nn.Module]:
    """Find the outermost modules that have parameters of which none trains: those that stay in eval mode."""
    names = [f"{prefix}{name}" for name, _ in module.named_parameters()]
    if names and not trained_names.intersection(names):
        return [module]
    found = []
    for name, child in module.named_children():
        found += sleeping(child, trained_names, f"{prefix}{name}.")
    return found


def asleep(network: nn.Module, trunk: nn.Module, policy: Freeze, trained_names: frozenset[str]) -> list[nn.Module]:
    """Find the modules that stay in eval mode: those that sleep, and BatchNorms whose statistics are to stay."""
    # Child by child: where nothing trains, the whole network would be one of its own parts.
    found = [m for name, child in network.named_children() for m in sleeping(child, trained_names, f"{name}.")]
    if getattr(policy, "batch_statistics", None) == "frozen":
        found += [m for m in trunk.modules() if getattr(m, "running_mean", None) is not None]
    return found
