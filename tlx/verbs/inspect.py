"""``inspect``: the surgery without the training."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tlx.config.roots import TrainConfig
from tlx.data.open import open_source
from tlx.network import network as networks
from tlx.network.backbone import create
from tlx.network.cost import StageCost, by_stage, multiply_adds
from tlx.network.cut import layers
from tlx.network.network import Network
from tlx.results.console import amount, console, say
from tlx.verbs.train import announce, assemble, solvable


def inspect(config: TrainConfig) -> None:
    """Print the stages, what is kept, frozen, trained and new, the cost of a pass, and every valid cut.

    Raises:
        InputError: Whatever ``train`` would refuse.
    """
    out = console()
    source = open_source(config.data, config.seed)
    network, preprocessing, surgery = assemble(config, source)
    announce(config, source, network, surgery)
    whole = create(config.backbone, config.data.image_size).model
    out.print()
    out.print(stage_table(by_stage(whole, preprocessing.image_size), network))
    out.print()
    counts = networks.counts(network, surgery)
    facts = networks.described(network, surgery)
    say(out, "cut", f"{facts['cut']}, {network.trunk.shape} features, {network.trunk.width} after pooling")
    say(out, "kept", f"{amount(counts['kept'])} parameters ({amount(counts['dropped'])} dropped)")
    say(out, "trained", f"{amount(counts['trained'])} parameters: {facts['trained']}")
    say(out, "frozen", f"{amount(counts['frozen'])} parameters, and every buffer beside them")
    cost = multiply_adds(network, preprocessing.image_size)
    total = multiply_adds(whole, preprocessing.image_size)
    say(out, "cost", f"{amount(cost)} multiply-adds an image at {preprocessing.image_size} px (whole: {amount(total)})")
    say(out, "method", "features computed once, then the solver" if solvable(config, network) else "gradient descent")
    _cuts(out, layers(whole, preprocessing.image_size))


def stage_table(costs: list[StageCost], network: Network) -> Table:
    """Lay out the stages from the input to the head."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("stage", "right"), ("name", "left"), ("output", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for title in ("parameters", "multiply-adds"):
        table.add_column(f"{title} so far", justify="right")
    table.add_column("fate")
    kept = sum(p.numel() for p in network.trunk.parameters())
    point = network.trunk.point
    state = "frozen" if network.trunk_frozen else "trained"
    for cost in costs:
        stays = point.kind == "head" or cost.parameters <= kept
        begun = point.kind == "layer" and not stays and point.name.startswith(f"{cost.stage.name}.")
        fate = f"kept, {state}" if stays else (f"cut inside, at {point.name}" if begun else "cut away")
        style = "cyan" if stays and network.trunk_frozen else "green" if stays else "yellow" if begun else "dim"
        shape = " × ".join(map(str, cost.shape))
        table.add_row(
            str(cost.stage.index), cost.stage.name, shape, amount(cost.parameters), amount(cost.multiply_adds), fate,
            style=style,
        )  # fmt: skip
    head = sum(p.numel() for p in network.head.parameters())
    outputs = str(network.head.linear.out_features)
    table.add_row("", "head", outputs, f"+ {amount(head)}", "", "new, trained", style="green")
    return table


def _cuts(out: Console, names: list[str]) -> None:
    out.print()
    say(out, "cuts", "cut=head; cut=early and cut=depth with cut.keep=SHARE; cut=stage cut.stage=INDEX (or name);")
    say(out, "", "cut=layer cut.name= one of")
    out.print(
        Padding(Text(", ".join(names) or "none: there is no single path from the image to the features"), (0, 0, 0, 10))
    )
