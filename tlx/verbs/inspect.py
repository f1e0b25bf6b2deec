"""``inspect``: the surgery without the training."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tlx.config.groups import BankFeatures, SgdSolver, SurgicalFreeze
from tlx.config.roots import TrainConfig
from tlx.data.open import open_source
from tlx.data.source import Source
from tlx.errors import InputError
from tlx.learner.optimization import parameter_groups
from tlx.learner.plan import Phase, plan, segments
from tlx.learner.trainer import make_trainer
from tlx.network import network as networks
from tlx.network.backbone import create
from tlx.network.cost import StageCost, by_stage, multiply_adds
from tlx.network.cut import layers
from tlx.network.freeze import undecided
from tlx.network.network import Network
from tlx.results import data_table
from tlx.results.clock import Clock
from tlx.results.console import amount, console, say
from tlx.results.decisions import Decisions
from tlx.results.progress import bar
from tlx.training.banks import Banks
from tlx.training.remarks import trains
from tlx.training.survey import settle_cut
from tlx.training.work import assemble, head_alone, solvable
from tlx.verbs.train import announce


def inspect(config: TrainConfig) -> None:
    """Print the stages, what is kept, frozen, trained and new, the cost of a pass, and every valid cut.

    With ``cut=auto``, the depth profile of the training images is computed first, for it decides.

    Raises:
        InputError: Whatever ``train`` would refuse.
    """
    out = console()
    source = _opened(config)
    trainer = make_trainer(config.trainer)
    decisions = Decisions(None)
    banks = Banks(config, decisions)
    config, _ = settle_cut(config, source, trainer, decisions, Clock(time.monotonic(), 0.0), banks)
    network, preprocessing, surgery = assemble(config, source)
    announce(config, source, network, surgery, data_table.show)
    whole = create(config.backbone, config.data.image_size).model
    out.print()
    out.print(stage_table(config, by_stage(whole, preprocessing.image_size), network, surgery.kept))
    out.print()
    counts = networks.counts(network, surgery)
    facts = networks.described(network, surgery)
    pooling = "pooling" if network.head.pool.kind == "auto" else f"{network.head.pool.kind} pooling"
    say(out, "cut", f"{facts['cut']}, {network.trunk.shape} features, {network.head.width} after {pooling}")
    say(out, "kept", f"{amount(counts['kept'])} parameters ({amount(counts['dropped'])} dropped)")
    cost = multiply_adds(network, preprocessing.image_size)
    total = multiply_adds(whole, preprocessing.image_size)
    say(out, "cost", f"{amount(cost)} multiply-adds an image at {preprocessing.image_size} px (whole: {amount(total)})")
    out.print()
    out.print(phase_table(config, network))
    out.print()
    out.print(group_table(config, network))
    if note := why_unsolved(config, network):
        say(out, "method", note)
    _cuts(out, layers(whole, preprocessing.image_size))


def _opened(config: TrainConfig) -> Source:
    """Open the images; where they are refused, what was found of them is shown first."""
    found: dict[str, Any] = {}
    out = console()
    try:
        with bar(out, "scan", shows=config.callbacks.progress) as progress:
            return open_source(config.data, config.seed, found.update, progress)
    except InputError:
        if found:
            data_table.show(out, found)
            data_table.remarks(out, found)
            data_table.bad(out, found)
        raise


def why_unsolved(config: TrainConfig, network: Network) -> str:
    """Say why the solver does not train the head where one might expect it; nothing elsewhere."""
    phases = [phase for phase in plan(config) if head_alone(network, phase)]
    if not phases or not isinstance(config.features, BankFeatures) or isinstance(config.solver, SgdSolver):
        return ""
    if network.head.pool.learned:
        return "gradient descent on images: features behind a pooling that learns change with it"
    if not network.head.solvable:
        return f"gradient descent on features computed once, for solver={config.solver.kind} takes head=linear"
    return ""


def stage_table(config: TrainConfig, costs: list[StageCost], network: Network, kept: int) -> Table:
    """Lay out the stages from the input to the head; ``kept`` of the backbone's parameters are."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("stage", "right"), ("name", "left"), ("output", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for title in ("parameters", "multiply-adds"):
        table.add_column(f"{title} so far", justify="right")
    table.add_column("fate")
    point = network.trunk.point
    for cost in costs:
        stays = point.kind == "head" or cost.parameters <= kept
        begun = point.kind in ("layer", "all") and not stays and point.name.startswith(f"{cost.stage.name}.")
        state = stage_state(config, network, cost.stage.index)
        fate = f"kept, {state}" if stays else (f"cut inside, at {point.name}, {state}" if begun else "cut away")
        style = "cyan" if stays and state == "frozen" else "green" if stays else "yellow" if begun else "dim"
        shape = " × ".join(map(str, cost.shape))
        table.add_row(
            str(cost.stage.index), cost.stage.name, shape, amount(cost.parameters), amount(cost.multiply_adds), fate,
            style=style,
        )  # fmt: skip
    head = sum(p.numel() for p in network.head.parameters())
    outputs = str(network.head.num_classes)
    table.add_row("", "head", outputs, f"+ {amount(head)}", "", "new, trained", style="green")
    return table


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


def phase_table(config: TrainConfig, network: Network) -> Table:
    """Lay out what trains in which epochs of which phase."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("phase", "left"), ("epochs", "right"), ("trains", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for title in ("trained", "frozen"):
        table.add_column(title, justify="right")
    table.add_column("batch statistics")
    total = sum(p.numel() for p in network.parameters())
    for phase in plan(config):
        solved = solvable(config, network, phase)
        for stretch in segments(network, phase):
            span = (
                f"{stretch.first + 1}" if stretch.first == stretch.last else f"{stretch.first + 1}-{stretch.last + 1}"
            )
            epochs = "solved" if solved else span
            what = trains(config, network, phase, stretch.trained)
            least, most = _least_and_most(network, phase, stretch.trained)
            frozen = _span(total - most, total - least)
            table.add_row(
                phase.name, epochs, what, _span(least, most), frozen, _statistics(network, phase, stretch.trained)
            )
    return table


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


def group_table(config: TrainConfig, network: Network) -> Table:
    """Lay out every phase's parameter groups with their learning rates."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("phase")
    table.add_column("group")
    for title in ("lr", "weight decay", "parameters"):
        table.add_column(title, justify="right")
    for phase in plan(config):
        if solvable(config, network, phase):
            table.add_row(phase.name, "head", "solver", config.solver.words, "")
            continue
        open_yet = undecided(network.freeze, network.anatomy, phase.index)
        for group in _groups(_all_chosen(network) if open_yet else network, phase):
            count = amount(sum(p.numel() for p in group["params"]))
            size = f"some of {count}" if open_yet and group["name"].startswith("trunk") else count
            table.add_row(phase.name, group["name"], group["lr"], f"{group['weight_decay']:g}", size)
    return table


def _all_chosen(network: Network) -> Network:
    """Return a copy whose every stage trains, to show the rates that any of them would have."""
    copy = deepcopy(network)
    copy.anatomy.chosen = tuple(range(len(copy.anatomy.stages)))
    return copy


def _groups(network: Network, phase: Phase) -> list[dict[str, Any]]:
    """Return a phase's groups with their rates as text; a rate that a range test will find is a multiple of it."""
    found = phase.optimizer.lr == "auto"
    optimizer = replace(phase.optimizer, lr=1.0) if found else phase.optimizer
    groups = parameter_groups(network, optimizer, phase.epochs, phase.index)
    return [{**group, "lr": f"auto × {group['lr']:.3g}" if found else f"{group['lr']:.3g}"} for group in groups]


def _cuts(out: Console, names: list[str]) -> None:
    out.print()
    say(out, "cuts", "cut=head; cut=auto; cut=all; cut=early and cut=depth with cut.keep=SHARE;")
    say(out, "", "cut=stage cut.stage=INDEX (or name); cut=layer cut.name= one of")
    out.print(
        Padding(Text(", ".join(names) or "none: there is no single path from the image to the features"), (0, 0, 0, 10))
    )
