"""Depth: how many of a network's layers lie before a point.

A layer is what textbooks count when they say ResNet-50: a module with a weight matrix or kernel. Those that a point
lies behind are those that its features depend on, as a backward pass from it would find them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tlx.errors import InputError
from tlx.network.points import Point, description_of, stages
from tlx.network.trace import connected, probe, record, tensors_in


class _Stages(nn.Module):
    """Reads every announced stage in one pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> Any:
        return self.model.forward_intermediates(images, intermediates_only=True)  # type: ignore[operator]


def stage_depths(model: nn.Module, image_size: int) -> list[int]:
    """Count the layers before the end of every announced stage. Stages side by side need not come in this order."""
    weights = _weights(model)
    maps: Any = probe(_Stages(model), image_size, graph=True)
    return [len(connected(features.grad_fn) & weights) for features in maps]


def within(model: nn.Module, keep: float, names: list[str], image_size: int) -> Point:
    """Find the deepest point before which lies at most the share ``keep`` of the layers, at least the first of all.

    ``names`` are the module paths that come into question beside the announced stages. Of points equally deep, an
    announced stage wins, then the one that ends last.
    """
    weights = _weights(model)
    runs, output, _ = record(model, model, image_size)
    whole = set().union(*(connected(tensor.grad_fn) for tensor in tensors_in(output)))
    description = description_of(model)
    total = len(whole & weights) - (1 if description and description.classifier else 0)
    ranked = [
        (len(connected(runs[name].node) & weights), 0, order, Point("layer", name)) for order, name in enumerate(names)
    ]
    if not description and hasattr(model, "forward_intermediates"):
        found = zip(stages(model), stage_depths(model, image_size), strict=True)
        ranked += [(depth, 1, s.index, Point("stage", s.name, s.index)) for s, depth in found]
    ranked = sorted((one for one in ranked if one[0]), key=lambda one: one[:3])
    if not ranked:
        raise InputError("this backbone has no layers to cut between", "choose cut=head")
    most = max(round(keep * total, 9), ranked[0][0])
    return [point for depth, _, _, point in ranked if depth <= most][-1]


def _weights(model: nn.Module) -> set[int]:
    """Collect the ids of the weight matrices and kernels; where none is called so, of everything of that form."""
    forms = {name: id(p) for name, p in model.named_parameters() if p.dim() > 1}
    named = {i for name, i in forms.items() if name.rpartition(".")[2] == "weight"}
    return named or set(forms.values())
