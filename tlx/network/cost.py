"""Cost: parameters, output shapes and multiply-adds, measured by a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tlx.config.groups import HeadCut, LayerCut, StageCut
from tlx.errors import InputError
from tlx.network.cut import Point, Stage, cut_at, probe, stages
from tlx.network.trace import forget


@dataclass(frozen=True)
class StageCost:
    """A stage's output shape (without the batch), and what the network costs up to and including it."""

    stage: Stage
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def multiply_adds(module: nn.Module, image_size: int) -> int:
    """Count the multiply-adds of one image's forward pass (convolutions, matrix products, attention)."""
    try:
        return _counted(skeleton(module), image_size)
    except (InputError, TypeError):  # a network that looks at its numbers, or makes tensors of its own on the CPU
        return _counted(module, image_size)


def by_stage(model: nn.Module, image_size: int) -> list[StageCost]:
    """Measure every stage of a whole model (without its classifier), each on a copy of its own that is cut there.

    Parameters and multiply-adds count everything from the input to the stage's end.
    """
    try:
        return _by_stage(skeleton(model), image_size)
    except (InputError, TypeError):
        return _by_stage(model, image_size)


def skeleton(module: nn.Module) -> nn.Module:
    """Copy a module without its numbers (torch's "meta" device): shapes come out, nothing is computed or stored."""
    forget(module)  # what it keeps of its weights may hang on a graph, which cannot be copied
    copies: dict[int, object] = {id(b): b.to("meta") for b in module.buffers()}
    for parameter in module.parameters():
        # The counter of multiply-adds follows gradients, and stumbles over parameters handed to a module.
        copies[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    return deepcopy(module, copies)


def _counted(module: nn.Module, image_size: int) -> int:
    awake = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in awake:
            parameter.requires_grad = False
        # The plain kernel of attention is made of matrix products; a CPU's fused one counts as nothing.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            probe(module, image_size)
    finally:
        for parameter in awake:
            parameter.requires_grad = True
    return int(counter.get_total_flops()) // 2


def _by_stage(model: nn.Module, image_size: int) -> list[StageCost]:
    costs = []
    for stage in stages(model):
        trunk = cut_at(deepcopy(model), StageCut(stage=stage.index), image_size)
        size = sum(p.numel() for p in trunk.parameters())
        costs.append(StageCost(stage, trunk.shape, size, multiply_adds(trunk, image_size)))
    return costs


def by_point(model: nn.Module, points: Sequence[Point], image_size: int) -> list[tuple[int, int]]:
    """Measure parameters and multiply-adds from the input to each point of a whole model (without its classifier)."""
    stage = {cost.stage.index: (cost.parameters, cost.multiply_adds) for cost in by_stage(model, image_size)}
    return [_at(model, point, image_size) if point.stage is None else stage[point.stage] for point in points]


def _at(model: nn.Module, point: Point, image_size: int) -> tuple[int, int]:
    cut = HeadCut() if point.kind == "head" else LayerCut(name=point.name)
    trunk = cut_at(deepcopy(model), cut, image_size)
    return sum(p.numel() for p in trunk.parameters()), multiply_adds(trunk, image_size)
