"""Trial: a few real steps of a copy of the network in each precision and memory format, timed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tlx.learner.optimization import fuses, make_optimizer, parameter_groups
from tlx.learner.plan import Phase
from tlx.network.depths import Depths
from tlx.network.memory_format import lay_out
from tlx.network.network import Network

log = logging.getLogger("tlx")

VISITS, STEPS = 2, 3  # each way is visited in turn so often, for so many steps, of which the first warms up
CLEARLY, SLIGHTLY = 1.10, 1.05  # times as fast: to give up full precision; to give up the usual memory format
TYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

Step = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Pace:
    """How a network is run: ``trainer.precision`` and ``trainer.memory_format``, neither of them ``auto``."""

    precision: str
    memory_format: str

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Pace:
        """Read what ``asdict`` made of one.

        Raises:
            ValueError: It is of no kind that there is.
        """
        pace = cls(**plain)
        if pace.precision not in ("32", *TYPES) or pace.memory_format not in ("channels_last", "contiguous"):
            raise ValueError(f"{pace} is no pace")
        return pace

    def __str__(self) -> str:
        return f"{self.precision}, {self.memory_format}"


def precise(pace: Pace, device: torch.device) -> AbstractContextManager[None]:
    """Compute the block as Lightning computes a step in this precision."""
    if pace.precision not in TYPES:
        return nullcontext()
    return torch.autocast(device.type, dtype=TYPES[pace.precision])


def training_steps(
    network: Network, phase: Phase, batch: int, device: torch.device, clip: float | None
) -> Callable[[Pace], Step]:
    """Return what makes a training step (forward, backward, optimizer) for a pace, on one copy of the network.

    Random images stand in for the data, so that its order is not touched. What trains in the phase's last epoch trains
    here, at a rate that moves nothing far. The copy is made for the first pace: there may be no memory for it.
    """
    still = replace(phase.optimizer, lr=1e-7)

    @cache
    def stand_in() -> tuple[Any, torch.Tensor, torch.Tensor]:
        copy, images, labels = _stand_in(network, batch, device)
        copy.set_epoch(phase.epochs - 1, phase.index)
        copy.train()
        return copy, images, labels

    def prepare(pace: Pace) -> Step:
        copy, images, labels = stand_in()
        lay_out(copy.trunk, pace.memory_format)
        groups = parameter_groups(copy, still, phase.epochs, phase.index)
        parameters = [p for group in groups for p in group["params"]]
        optimizer = make_optimizer(groups, still, fused=fuses(device.type, pace.precision))

        def step() -> torch.Tensor:
            with precise(pace, device):
                logits = copy(images).float()
                loss = F.cross_entropy(logits, labels % logits.shape[1])
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            return loss

        return step

    return prepare


def inference_steps(network: Network | Depths, batch: int, device: torch.device) -> Callable[[Pace], Step]:
    """Return what makes a pass over a batch for a pace: pooled features in eval mode, on one copy of the network.

    The copy is made for the first pace: there may be no memory for it.
    """

    @cache
    def stand_in() -> tuple[Any, torch.Tensor]:
        copy, images, _ = _stand_in(network, batch, device)
        return copy.eval(), images

    def prepare(pace: Pace) -> Step:
        copy, images = stand_in()
        lay_out(copy if isinstance(network, Depths) else copy.trunk, pace.memory_format)

        def step() -> torch.Tensor:
            with torch.inference_mode(), precise(pace, device):
                features: torch.Tensor = copy.embed(images)
                return features.float().sum()

        return step

    return prepare


def _stand_in(network: Network | Depths, batch: int, device: torch.device) -> tuple[Any, torch.Tensor, torch.Tensor]:
    size = (network if isinstance(network, Depths) else network.trunk).image_size
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    return deepcopy(network).to(device), images.to(device), torch.arange(batch, device=device)


def timed(
    paces: Sequence[Pace], prepare: Callable[[Pace], Step], device: torch.device, visits: int = VISITS
) -> dict[Pace, float]:
    """Return the seconds that a step takes in each pace; one that fails, or whose loss is not finite, is left out.

    The paces take turns, and the shortest time counts: what else the machine does only makes a step longer. No random
    state is moved.
    """
    seconds = dict.fromkeys(paces, float("inf"))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for _ in range(visits):
            for pace in list(seconds):
                try:
                    taken = _visit(prepare(pace), device)
                except RuntimeError as error:  # no kernel in this precision, no memory in full precision or for a copy
                    log.info("pace: %s fails: %s", pace, str(error).partition("\n")[0])
                    taken = None
                if taken is None:
                    del seconds[pace]
                else:
                    seconds[pace] = min(seconds[pace], taken)
    return seconds


def _visit(step: Step, device: torch.device) -> float | None:
    """Return the shortest step of a visit; None where it computes nothing finite."""
    shortest = float("inf")
    for index in range(STEPS):
        started = time.perf_counter()
        value = step()
        finite = bool(torch.isfinite(value))  # waits for the device
        if not finite:
            return None
        if index:
            shortest = min(shortest, time.perf_counter() - started)
    return shortest


def chosen(seconds: dict[Pace, float], usual: Pace) -> Pace:
    """Choose the fastest pace; full precision and the usual format are given up only for a clear gain."""
    best = {}
    for precision in dict.fromkeys(pace.precision for pace in seconds):
        there = {pace: taken for pace, taken in seconds.items() if pace.precision == precision}
        fastest = min(there, key=lambda pace: there[pace])
        same = replace(usual, precision=precision)
        best[precision] = same if same in there and there[same] <= SLIGHTLY * there[fastest] else fastest
    if not best:
        return usual
    mixed = [pace for precision, pace in best.items() if precision != usual.precision]
    if usual.precision not in best:
        return mixed[0]
    full = best[usual.precision]
    return next((pace for pace in mixed if CLEARLY * seconds[pace] <= seconds[full]), full)
