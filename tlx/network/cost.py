"""Cost: parameters, output shapes and multiply-adds, measured by a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tlx.config.groups import HeadCut, LayerCut
from tlx.network.cut import Point, Stage, cut_at, probe, prune, stages


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
        prune(copy, stage.index)
        reader = _Stage(copy, stage.index)
        flops = multiply_adds(reader, image_size)
        costs.append(StageCost(stage, reader.shape, sum(p.numel() for p in copy.parameters()), flops))
    return costs[::-1]


class _Stage(nn.Module):
    """Reads one stage and notes its shape, so that one pass tells both shape and cost."""

    def __init__(self, model: nn.Module, stage: int) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        self.shape: tuple[int, ...] = ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.model.forward_intermediates(  # type: ignore[operator]
            images, indices=[self.stage], stop_early=True, intermediates_only=True
        )
        self.shape = tuple(maps[0].shape[1:])
        features: torch.Tensor = maps[0]
        return features


def by_point(model: nn.Module, points: Sequence[Point], image_size: int) -> list[tuple[int, int]]:
    """Measure parameters and multiply-adds from the input to each point of a whole model (without its classifier)."""
    found: dict[Point, tuple[int, int]] = {}
    if any(point.kind == "stage" for point in points):
        for cost in by_stage(model, image_size):
            found[Point("stage", cost.stage.name, cost.stage.index)] = (cost.parameters, cost.multiply_adds)
    for point in points:
        if point.kind != "stage":
            cut = LayerCut(name=point.name) if point.kind == "layer" else HeadCut()
            trunk = cut_at(deepcopy(model), cut, image_size)
            found[point] = (sum(p.numel() for p in trunk.parameters()), multiply_adds(trunk, image_size))
    return [found[point] for point in points]
