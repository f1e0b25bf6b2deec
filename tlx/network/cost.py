"""Cost: parameters, output shapes and multiply-adds, measured by a forward pass."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tlx.config.groups import StageCut
from tlx.network.cut import Stage, cut_at, probe, stages


@dataclass(frozen=True)
class StageCost:
    """A stage's output shape (without the batch), and what the network costs up to and including it."""

    stage: Stage
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def multiply_adds(module: nn.Module, image_size: int) -> int:
    """Count the multiply-adds of one image's forward pass (convolutions, matrix products, attention)."""
    awake = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in awake:  # the counter follows gradients, and stumbles over parameters handed to a module
            parameter.requires_grad = False
        # The plain kernel of attention is made of matrix products; a CPU's fused one counts as nothing.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            probe(module, image_size)
    finally:
        for parameter in awake:
            parameter.requires_grad = True
    return int(counter.get_total_flops()) // 2


def by_stage(model: nn.Module, image_size: int) -> list[StageCost]:
    """Measure every stage of a whole model (without its classifier), by cutting a copy shorter and shorter.

    Parameters and multiply-adds count everything from the input to the stage's end.
    """
    copy = deepcopy(model)
    costs = []
    for stage in reversed(stages(model)):
        trunk = cut_at(copy, StageCut(stage=stage.index), image_size)
        size = sum(p.numel() for p in trunk.parameters())
        costs.append(StageCost(stage, trunk.shape, size, multiply_adds(trunk, image_size)))
    return costs[::-1]
