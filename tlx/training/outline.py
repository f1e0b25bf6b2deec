"""Outline: a run's surgery and plan as plain data, which ``inspect`` prints and the report draws."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from torch import nn

from tlx.config.groups import SurgicalFreeze
from tlx.config.roots import TrainConfig
from tlx.learner.optimization import parameter_groups
from tlx.learner.plan import Phase, plan, segments
from tlx.network import network as networks
from tlx.network.cost import by_stage, multiply_adds
from tlx.network.freeze import undecided
from tlx.network.network import Network, Surgery
from tlx.results.console import amount
from tlx.training.remarks import trains
from tlx.training.work import solvable

Row = dict[str, Any]


def outline(config: TrainConfig, network: Network, whole: nn.Module, surgery: Surgery, image_size: int) -> Row:
    """Describe what becomes of a backbone and how the network trains.

    ``whole`` is the backbone before the surgery, without its classifier. ``stages`` stand from the input on, ``phases``
    and ``groups`` in the order in which they train; multiply-adds are those of one image.
    """
    return {
        **networks.described(network, surgery),
        "image_size": image_size,
        "backbone": config.backbone.name,
        "classes": network.head.num_classes,
        "stages": _stages(config, network, whole, surgery.kept, image_size),
        "head": {
            "words": network.head.words,
            "kind": network.head.kind,
            "pool": network.head.pool.kind if network.head.pool.layout != "vector" else None,
            "width": network.head.width,
            "parameters": sum(p.numel() for p in network.head.parameters()),
        },
        "features": list(network.trunk.shape),
        "parameters": networks.counts(network, surgery),
        "multiply_adds": multiply_adds(network, image_size),
        "multiply_adds_whole": multiply_adds(whole, image_size),
        "phases": _phases(config, network),
        "groups": _groups(config, network),
    }


def _stages(config: TrainConfig, network: Network, whole: nn.Module, kept: int, image_size: int) -> list[Row]:
    """List the stages; ``kept`` of the backbone's parameters are.

    ``fate`` is "kept", "inside" (the cut lies within it) or "cut", ``state`` says from when on it trains. Parameters
    and multiply-adds are those from the input to the stage's end, or to the cut inside it.
    """
    rows = []
    point = network.trunk.point
    for cost in by_stage(whole, image_size):
        stays = point.kind == "head" or cost.parameters <= kept
        begun = point.kind in ("layer", "all") and not stays and point.name.startswith(f"{cost.stage.name}.")
        state = stage_state(config, network, cost.stage.index)
        rows.append(
            {
                "index": cost.stage.index,
                "name": cost.stage.name,
                "shape": list(network.trunk.shape if begun else cost.shape),
                "parameters": kept if begun else cost.parameters,
                "multiply_adds": multiply_adds(network.trunk, image_size) if begun else cost.multiply_adds,
                "fate": "kept" if stays else "inside" if begun else "cut",
                "state": state if stays or begun else "",
                "ends": point.name if begun else "",
            }
        )
    return rows


def stage_state(config: TrainConfig, network: Network, index: int) -> str:
    """Say from when on a stage trains, and whether all of it does.

    "frozen" is a stage of which no parameter trains in any epoch of any phase.
    """
    mine = network.anatomy.of_stages([index])
    for phase in plan(config):
        if mine and undecided(network.freeze, network.anatomy, phase.index):
            return f"candidate of phase {phase.name}"
        for stretch in segments(network, phase):
            if awake_here := mine & stretch.trained:
                begin = f"epoch {stretch.first + 1}" if stretch.first else f"phase {phase.name}" if phase.index else ""
                part = "trained" if awake_here == mine else "partly trained"
                return f"{part} from {begin}" if begin else part
    return "frozen" if mine else "without parameters of its own"


def _phases(config: TrainConfig, network: Network) -> list[Row]:
    """List what trains in which epochs of which phase; counts are of parameters, least and most where some are open."""
    rows = []
    total = sum(p.numel() for p in network.parameters())
    for phase in plan(config):
        solved = solvable(config, network, phase)
        for stretch in segments(network, phase):
            first, last = stretch.first + 1, stretch.last + 1
            least, most = _least_and_most(network, phase, stretch.trained)
            rows.append(
                {
                    "phase": phase.name,
                    "epochs": "solved" if solved else f"{first}" if first == last else f"{first}-{last}",
                    "trains": trains(config, network, phase, stretch.trained),
                    "trained": _span(least, most),
                    "frozen": _span(total - most, total - least),
                    "statistics": _statistics(network, phase, stretch.trained),
                }
            )
    return rows


def _least_and_most(network: Network, phase: Phase, trained: frozenset[str]) -> tuple[int, int]:
    """Count the parameters that train; where some stages are still to be chosen, at least and at most."""
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    certain = sum(sizes[name] for name in trained)
    policy, anatomy = network.freeze, network.anatomy
    if not isinstance(policy, SurgicalFreeze) or not undecided(policy, anatomy, phase.index):
        return certain, certain
    stages = sorted(sum(sizes[name] for name in anatomy.of_stages([i])) for i in range(len(anatomy.stages)))
    return certain + sum(stages[: policy.stages]), certain + sum(stages[-policy.stages :])


def _span(least: int, most: int) -> str:
    return amount(least) if least == most else f"{amount(least)} to {amount(most)}"


def _statistics(network: Network, phase: Phase, trained: frozenset[str]) -> str:
    if all(name.startswith("head.") for name in trained) and not undecided(
        network.freeze, network.anatomy, phase.index
    ):
        return "frozen"
    policy = getattr(network.freeze, "batch_statistics", "frozen")
    if not any(name.endswith("running_mean") for name, _ in network.trunk.named_buffers()):
        return "none"
    return "frozen" if policy == "frozen" else "moving where a BatchNorm trains"


def _groups(config: TrainConfig, network: Network) -> list[Row]:
    """List every phase's parameter groups with their learning rates."""
    rows = []
    for phase in plan(config):
        if solvable(config, network, phase):
            solved = {"group": "head", "lr": "solver", "weight_decay": config.solver.words, "parameters": ""}
            rows.append({"phase": phase.name, **solved})
            continue
        open_yet = undecided(network.freeze, network.anatomy, phase.index)
        for group in _rated(_all_chosen(network) if open_yet else network, phase):
            count = amount(sum(p.numel() for p in group["params"]))
            size = f"some of {count}" if open_yet and group["name"].startswith("trunk") else count
            decay = f"{group['weight_decay']:g}"
            named = {"group": group["name"], "lr": group["lr"], "weight_decay": decay, "parameters": size}
            rows.append({"phase": phase.name, **named})
    return rows


def _all_chosen(network: Network) -> Network:
    """Return a copy whose every stage trains, to show the rates that any of them would have."""
    copy = deepcopy(network)
    copy.anatomy.chosen = tuple(range(len(copy.anatomy.stages)))
    return copy


def _rated(network: Network, phase: Phase) -> list[dict[str, Any]]:
    """Return a phase's groups with their rates as text; a rate that a range test will find is a multiple of it."""
    found = phase.optimizer.lr == "auto"
    optimizer = replace(phase.optimizer, lr=1.0) if found else phase.optimizer
    groups = parameter_groups(network, optimizer, phase.epochs, phase.index)
    return [{**group, "lr": f"auto × {group['lr']:.3g}" if found else f"{group['lr']:.3g}"} for group in groups]
