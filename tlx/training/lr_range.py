"""The learning-rate range test (Smith, 2017): on a copy of the network, for the groups that train."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from tlx.data.module import ImageModule
from tlx.errors import InputError
from tlx.learner.optimization import make_optimizer, parameter_groups
from tlx.learner.plan import Phase
from tlx.network.head_alone import Trainable
from tlx.randomness import seed_for
from tlx.results.console import console, say
from tlx.training.work import Work

STEPS = 80
LOWEST, HIGHEST = 1e-6, 3.0
SMOOTHING = 0.9  # of the running mean of the loss
BLOWN = 3.0  # times the lowest loss: the test ends
STILL = 8  # steps at rates too low to change anything: their loss is the start
SAFETY = 10.0  # the suggestion lies so far below the rate at which the loss was lowest


@dataclass(frozen=True)
class RangeTest:
    """Rates, the smoothed loss (nats) after a step at each, and the suggested rate."""

    lr: float
    rates: list[float]
    losses: list[float]


def with_rate(work: Work, network: Trainable, phase: Phase, trainer: pl.Trainer, images: ImageModule) -> Phase:
    """Return the phase with a learning rate: its own, or what a range test suggests where that is ``auto``."""
    if phase.optimizer.lr != "auto":
        return phase

    def find() -> dict[str, Any]:
        with work.clock.phase("fit"):
            return vars(range_test(network, phase, images, trainer.strategy.root_device, work.config.seed))

    found = work.decisions.take(f"lr/{phase.name}", find)
    if trainer.is_global_zero:
        say(console(), "lr", f"{found['lr']:.2g}, by a range test of {len(found['rates'])} steps on a copy")
    return replace(phase, optimizer=replace(phase.optimizer, lr=found["lr"]))


def range_test(network: Trainable, phase: Phase, images: ImageModule, device: torch.device, seed: int) -> RangeTest:
    """Raise the learning rate step by step, on a copy of the network, until the loss blows up.

    Nothing but the copy changes, neither the order of the data nor any random state.

    Raises:
        InputError: The loss is not finite.
    """
    copy = deepcopy(network).to(device).train()
    unit = replace(phase.optimizer, lr=1.0)  # a group's rate is then its multiple
    optimizer = make_optimizer(parameter_groups(copy, unit, phase.epochs, phase.index), unit)
    multiples = [group["lr"] for group in optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step, batch in zip(range(STEPS), _batches(images), strict=False):
            torch.manual_seed(seed_for(seed, "lr_range", step))
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
            for group, multiple in zip(optimizer.param_groups, multiples, strict=True):
                group["lr"] = rate * multiple
            loss = F.cross_entropy(copy(batch["image"].to(device)), batch["label"].to(device))
            if not torch.isfinite(loss):
                break
            mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss.detach())
            rates.append(rate)
            losses.append(mean / (1 - SMOOTHING ** (step + 1)))
            if losses[-1] > BLOWN * min(losses):
                break
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
    if not losses:
        raise InputError("optimizer.lr=auto: the loss is not finite at any rate", "give a number: optimizer.lr=1e-3")
    return RangeTest(suggestion(rates, losses), rates, losses)


def suggestion(rates: list[float], losses: list[float]) -> float:
    """Return a tenth of the rate at which the smoothed loss was lowest.

    Where it never fell, as after a probe that fits the training images, return a tenth of the last rate before it rose.
    """
    start = sum(losses[:STILL]) / len(losses[:STILL])
    lowest = losses.index(min(losses))
    clear = max(0.05, 0.05 * start)  # nats; less is the noise of batches
    if losses[lowest] < start - clear:
        return rates[lowest] / SAFETY
    rose = (index for index, loss in enumerate(losses) if loss > start + clear)
    return rates[max(0, next(rose, len(losses)) - 1)] / SAFETY


def _batches(images: ImageModule) -> Iterator[Any]:
    """Yield training batches, epoch after epoch."""
    loader = images.train_dataloader()
    epoch = 0
    while True:
        images.order.set_epoch(epoch)
        yield from loader
        epoch += 1
