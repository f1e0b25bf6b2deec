"""Optimisation: parameter groups, their learning rates, and the schedule, all of them explicit."""

from __future__ import annotations

import math
from typing import Any

import torch

from tlx.config.groups import SGD, AdamW, ConstantSchedule, CosineSchedule
from tlx.network.head_alone import Trainable
from tlx.network.network import Network

Optimizer = AdamW | SGD
Schedule = CosineSchedule | ConstantSchedule


def parameter_groups(network: Trainable, optimizer: Optimizer, epochs: int, phase: int = 0) -> list[dict[str, Any]]:
    """Group all parameters that train in any epoch of a phase: trunk and head, with and without weight decay.

    Every group exists from the start, so that a schedule and a checkpoint know it; its learning rate is base times
    multiple, written out. With ``layer_decay`` d, a trunk layer that has n layers behind it, the head included, has the
    multiple d^n (Clark et al., 2020). Biases, norms and what the architecture and the head ask for are not decayed.
    """
    ever = frozenset().union(*(network.trained_in(epoch, phase) for epoch in range(epochs)))
    spared = network.no_weight_decay()
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if name not in ever:
            continue
        part, multiple = name.split(".")[0], optimizer.head_multiple
        if part != "head":
            assert isinstance(network, Network)
            part, multiple = _of_trunk(network, name, optimizer.layer_decay)
        decayed = parameter.ndim > 1 and name not in spared
        group = groups.setdefault(
            f"{part}/{'decayed' if decayed else 'plain'}",
            {"params": [], "lr": optimizer.lr * multiple, "weight_decay": optimizer.weight_decay if decayed else 0.0},
        )
        group["params"].append(parameter)
    return [{"name": name, **group} for name, group in groups.items()]


def _of_trunk(network: Network, name: str, layer_decay: float | None) -> tuple[str, float]:
    """Name the group of a trunk parameter, and its multiple of the learning rate."""
    if layer_decay is None:
        return "trunk", 1.0
    depth = network.anatomy.depth
    return f"trunk/{depth[name]}", layer_decay ** (max(depth.values()) + 1 - depth[name])


def make_optimizer(groups: list[dict[str, Any]], config: Optimizer, fused: bool = False) -> torch.optim.Optimizer:
    """Create the optimizer over groups that carry their own learning rate and weight decay.

    ``fused``: step in one pass over memory, by a kernel of its own; where that may be, ``fuses`` says.
    """
    if isinstance(config, AdamW):
        return torch.optim.AdamW(groups, betas=(config.betas[0], config.betas[1]), fused=fused)
    nesterov = config.nesterov and config.momentum > 0
    return torch.optim.SGD(groups, momentum=config.momentum, nesterov=nesterov, fused=fused)


def fuses(device: str, precision: str) -> bool:
    """Whether a step can be fused: on a CPU a step of AdamW over many small tensors is then many times as fast.

    With scaled gradients a fused step unscales them itself, which leaves no place to clip them.
    """
    return device in ("cpu", "cuda") and not precision.startswith("16")


def factor(schedule: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return what the learning rates are multiplied by at a step: a function of the step alone."""
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if isinstance(schedule, ConstantSchedule):
        return 1.0
    total = steps_per_epoch * epochs
    done = min(1.0, (step - warmup) / max(1.0, total - warmup))
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * done))
