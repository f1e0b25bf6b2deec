"""How fast fine-tuning is, beside loops written by hand, and what a frozen prefix saves.

Run: python -m tests.benchmarks.finetuning [ROUNDS [MODEL ...]], by default seven rounds of resnet18 and
mobilenetv3_small_100. Prints Markdown. The large, similar case (everything trains) at 128 px in batches of 32, random
weights, AdamW, clipped gradients. Images come as finished tensors from memory, by the same loader on every side, so
that the loops are compared and not the decoding. A round times eight steps of each side, one side after another in one
process; the ratios are medians over the rounds of the ratio within a round, which what else the machine does
disturbs least. With OMP_NUM_THREADS=1 the processor's time counts instead of the clock's, which nothing else disturbs.

- tlx: the learner and a run's own callbacks through the Lightning trainer, at the pace that a trial chose just before.
- the same by hand: a loop of torch with the same precision, memory format and fused optimizer.
- plain: a loop of torch in 32-bit precision, contiguous, with torch's own defaults.

The second table is the first sides' step by how much is frozen (freeze=upto), and the memory that a forward pass
keeps for the backward pass.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import timm
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tlx.config import groups as g
from tlx.interruption import Interruption
from tlx.learner.certificate import Certificate
from tlx.learner.checkpoints import Checkpoints
from tlx.learner.learner import Learner
from tlx.learner.plan import Phase
from tlx.learner.progress import ProgressBar
from tlx.learner.trainer import make_trainer
from tlx.learner.trial import Pace, chosen, timed, training_steps
from tlx.network.activations import kept_bytes
from tlx.network.freeze import Freeze
from tlx.network.memory_format import FORMATS, lay_out
from tlx.network.network import Network, build
from tlx.training.pace import open_paces

SIZE, BATCH, CLASSES, STEPS = 128, 32, 10, 8
CPU = torch.device("cpu")
now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
PLAIN = Pace("32", "contiguous")
MODELS = ("resnet18", "mobilenetv3_small_100")
DEEP = ("resnet18", "vit_tiny_patch16_224")  # frozen at several depths
PHASE = Phase(0, "train", 1, g.AdamW(lr=1e-4), g.ConstantSchedule(), g.EarlyStopping())


def network(name: str, freeze: Freeze | None = None) -> Network:
    """Build a network with random weights."""
    backbone = g.TimmBackbone(name=name)
    return build(backbone, g.ScratchInit(), g.HeadCut(), freeze or g.NoFreeze(), g.LinearHead(), CLASSES, 0, SIZE)[0]


def loader(batches: int) -> DataLoader[Any]:
    """Hand out the same finished batches again and again."""
    made = torch.Generator().manual_seed(0)
    some = [torch.randn(BATCH, 3, SIZE, SIZE, generator=made) for _ in range(4)]
    labels = torch.arange(BATCH) % CLASSES
    stack = [{"image": some[k % 4], "label": labels, "index": torch.arange(BATCH)} for k in range(batches)]
    return DataLoader(stack, batch_size=None)  # type: ignore[arg-type]


class Marks(pl.Callback):
    """Notes when batches end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time."""
        self.ends.append(now())


class Images(pl.LightningDataModule):
    """The finished batches, under Lightning's name."""

    position = (0, 0)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return a round's batches, and one to warm up."""
        return loader(STEPS + 1)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return a batch to validate on, outside of what is timed."""
        return loader(1)


def by_tlx(net: Network, pace: Pace) -> Callable[[], float]:
    """Return what times a step of the learner under Lightning: seconds, over a round's steps."""
    lay_out(net.trunk, pace.memory_format)

    def timed_round() -> float:
        trainer = make_trainer(g.Trainer(accelerator="cpu", devices=1, max_epochs=1, precision=pace.precision))
        learner = Learner(net, CLASSES, PHASE, g.Regularizer(), None, Certificate(net), 0)
        marks = Marks()
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder), g.Callbacks(), g.EarlyStopping(), Interruption(""))
            trainer.callbacks.extend([checkpoints, ProgressBar(Console(file=io.StringIO()), checkpoints), marks])
            trainer.fit(learner, datamodule=Images())
        return (marks.ends[-1] - marks.ends[0]) / STEPS

    return timed_round


def by_hand(name: str, pace: Pace, fused: bool | None) -> Callable[[], float]:
    """Return what times a step of a plain loop over a timm model; ``fused=None`` is torch's default."""
    order = FORMATS[pace.memory_format]
    net = timm.create_model(name, num_classes=CLASSES).to(memory_format=order).train()
    parameters = list(net.parameters())

    def precise() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if pace.precision == "bf16-mixed" else nullcontext()

    def timed_round() -> float:
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=fused)  # a round of tlx has a new one too
        started = 0.0
        for index, batch in enumerate(loader(STEPS + 1)):
            if index == 1:
                started = now()
            with precise():
                loss = F.cross_entropy(net(batch["image"].contiguous(memory_format=order)), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        return (now() - started) / STEPS

    return timed_round


def settled(name: str) -> Pace:
    """Choose a pace as a run does."""
    net = network(name)
    paces = open_paces(g.Trainer(), net.trunk, CPU)
    return chosen(timed(paces, training_steps(net, PHASE, BATCH, CPU, 1.0), CPU), paces[0])


def compared(name: str, rounds: int) -> str:
    """Time the three sides in turn; return a row of the table."""
    pace = settled(name)
    sides = {
        "tlx": by_tlx(network(name), pace),
        "same": by_hand(name, pace, fused=True),
        "plain": by_hand(name, PLAIN, fused=None),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side()  # warms up
    for _ in range(rounds):
        for side, run in sides.items():
            seconds[side].append(run())
    rates = {side: BATCH / statistics.median(taken) for side, taken in seconds.items()}

    def ratio(side: str) -> str:
        found = [theirs / ours for ours, theirs in zip(seconds["tlx"], seconds[side], strict=True)]
        return f"{statistics.median(found):.2f}"

    shown = " | ".join(f"{rates[side]:.0f}" for side in ("tlx", "same", "plain"))
    return f"| {name} | {pace} | {shown} | {ratio('same')} | {ratio('plain')} |"


def frozen_rows(name: str, rounds: int) -> Iterator[str]:
    """Time a step with the network frozen up to each of several stages; yield rows of the table."""
    pace = settled(name)
    stages = network(name).anatomy.stages
    depths = sorted({0, len(stages) // 4, len(stages) // 2, 3 * len(stages) // 4, len(stages)})
    nets = {depth: network(name, g.UptoFreeze(stage=depth - 1) if depth else None) for depth in depths}
    runs, kept = {}, {}
    for depth, net in nets.items():
        copy = deepcopy(net).train()
        lay_out(copy.trunk, pace.memory_format)
        with torch.autocast("cpu", torch.bfloat16, enabled=pace.precision == "bf16-mixed"):
            kept[depth] = kept_bytes(copy, next(iter(loader(1)))["image"]) / 2**20
        runs[depth] = by_tlx(net, pace)
        runs[depth]()  # warms up
    seconds: dict[int, list[float]] = {depth: [] for depth in depths}
    for _ in range(rounds):
        for depth, run in runs.items():
            seconds[depth].append(run())
    for depth in depths:
        share = statistics.median(ours / whole for ours, whole in zip(seconds[depth], seconds[0], strict=True))
        frozen = f"up to {stages[depth - 1]}" if depth else "nothing"
        taken = f"{1000 * statistics.median(seconds[depth]):.0f} | {share:.2f}"
        yield f"| {name} | {frozen} ({depth} of {len(stages)}) | {taken} | {kept[depth]:.1f} |"


def main() -> None:
    """Print both tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    models = sys.argv[2:] or MODELS

    def put(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    put("| network | pace | tlx, images/s | the same by hand | plain | tlx / the same | tlx / plain |")
    put("|---|---|---|---|---|---|---|")
    for name in models:
        put(compared(name, rounds))
    put("\n| network | frozen | ms a step | of all trained | kept for the backward pass, MB |")
    put("|---|---|---|---|---|")
    for name in DEEP:
        for row in frozen_rows(name, rounds):
            put(row)


if __name__ == "__main__":
    main()
