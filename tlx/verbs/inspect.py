"""``inspect``: the surgery without the training."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tlx.config.groups import BankFeatures, SgdSolver
from tlx.config.roots import TrainConfig
from tlx.data.open import open_source
from tlx.data.source import Source
from tlx.errors import InputError
from tlx.learner.plan import plan
from tlx.learner.trainer import make_trainer
from tlx.network.backbone import create
from tlx.network.cut import layers
from tlx.network.network import Network
from tlx.results import data_table
from tlx.results.clock import Clock
from tlx.results.console import amount, console, say
from tlx.results.decisions import Decisions
from tlx.results.progress import bar
from tlx.training.banks import Banks
from tlx.training.batches import must_train
from tlx.training.outline import outline
from tlx.training.survey import settle_cut
from tlx.training.work import assemble, head_alone
from tlx.verbs.train import announce, announce_data


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
    must_train(config, network, len(source.train.labels), trainer)
    announce_data(config, source, data_table.show)
    announce(config, source, network, surgery, trainer.world_size)
    whole = create(config.backbone, config.data.image_size).model
    out.print()
    size = preprocessing.image_size
    told = outline(config, network, whole, surgery, size)
    out.print(stage_table(told))
    out.print()
    kept, dropped = (amount(told["parameters"][name]) for name in ("kept", "dropped"))
    pooling = "pooling" if network.head.pool.kind == "auto" else f"{network.head.pool.kind} pooling"
    say(out, "cut", f"{told['cut']}, {network.trunk.shape} features, {network.head.width} after {pooling}")
    say(out, "kept", f"{kept} parameters ({dropped} dropped)")
    cost, total = amount(told["multiply_adds"]), amount(told["multiply_adds_whole"])
    say(out, "cost", f"{cost} multiply-adds an image at {size} px (whole: {total})")
    out.print()
    out.print(phase_table(told))
    out.print()
    out.print(group_table(told))
    if note := why_unsolved(config, network):
        say(out, "method", note)
    _cuts(out, layers(whole, size))


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


def stage_table(described: dict[str, Any]) -> Table:
    """Lay out the stages from the input to the head."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("stage", "right"), ("name", "left"), ("output", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for title in ("parameters", "multiply-adds"):
        table.add_column(f"{title} so far", justify="right")
    table.add_column("fate")
    for row in described["stages"]:
        state, stays, begun = row["state"], row["fate"] == "kept", row["fate"] == "inside"
        fate = f"kept, {state}" if stays else f"cut inside, at {row['ends']}, {state}" if begun else "cut away"
        style = "cyan" if stays and state == "frozen" else "green" if stays else "yellow" if begun else "dim"
        shape = " × ".join(map(str, row["shape"]))
        costs = amount(row["parameters"]), amount(row["multiply_adds"])
        table.add_row(str(row["index"]), row["name"], shape, *costs, fate, style=style)
    head = f"+ {amount(described['head']['parameters'])}"
    table.add_row("", "head", str(described["classes"]), head, "", "new, trained", style="green")
    return table


def phase_table(described: dict[str, Any]) -> Table:
    """Lay out what trains in which epochs of which phase."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("phase", "left"), ("epochs", "right"), ("trains", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for title in ("trained", "frozen"):
        table.add_column(title, justify="right")
    table.add_column("batch statistics")
    for row in described["phases"]:
        table.add_row(*row.values())
    return table


def group_table(described: dict[str, Any]) -> Table:
    """Lay out every phase's parameter groups with their learning rates."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("phase")
    table.add_column("group")
    for title in ("lr", "weight decay", "parameters"):
        table.add_column(title, justify="right")
    for row in described["groups"]:
        table.add_row(*row.values())
    return table


def _cuts(out: Console, names: list[str]) -> None:
    out.print()
    say(out, "cuts", "cut=head; cut=auto; cut=all; cut=early and cut=depth with cut.keep=SHARE;")
    say(out, "", "cut=stage cut.stage=INDEX (or name); cut=layer cut.name= one of")
    out.print(
        Padding(Text(", ".join(names) or "none: there is no single path from the image to the features"), (0, 0, 0, 10))
    )
