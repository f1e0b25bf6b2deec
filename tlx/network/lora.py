"""Low-rank adapters (LoRA; Hu et al., 2021): every adapted weight W becomes W + alpha / r * B A, and only A, B train.

Of 27 timm families tried, peft 0.21 serves 9: it refuses depthwise convolutions, merges standardised ones wrongly, and
is passed by where code reads ``.weight`` (BEiT, EVA, Swin v2). A parametrization serves all, for 4 to 12 % more time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from tlx.config.groups import LoraFreeze
from tlx.errors import InputError, nearest
from tlx.randomness import seed_for

ADAPTED = (nn.Linear, nn.modules.conv._ConvNd)  # and what derives from them, with its own way of using the weight
ADAPTER = re.compile(r"(^|\.)parametrizations\.weight\.\d+\.[ab]$")


class LowRank(nn.Module):
    """Adds ``alpha / r * B A`` to a weight, which counts as a matrix (its first dimension, all others).

    ``a`` is (r, columns), drawn from a uniform Kaiming distribution; ``b`` is (rows, r) and starts at zero. The rank r
    is at most the largest with which A and B hold no more numbers than the weight (and at least 1): a depthwise 3 x 3
    convolution of 64 channels gets rank 7 of the 9 that its matrix can have.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float, seed: int) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        rank = min(rank, max(1, rows * columns // (rows + columns)))
        drawn = torch.empty(rank, columns)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=torch.Generator().manual_seed(seed))
        self.a = nn.Parameter(drawn.to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the adapted weight, in the weight's own precision: under autocast, too, it is what a merge bakes."""
        with torch.autocast(weight.device.type, enabled=False):
            # Into a clone, which has the weight's very strides: convolutions choose their kernels by them.
            return weight.clone().add_((self.b @ self.a).view(weight.shape), alpha=self.scale)


def attach(model: nn.Module, config: LoraFreeze, seed: int) -> list[str]:
    """Adapt the linear layers and convolutions of ``model`` whose path matches, in place; return their paths.

    The network is unchanged at first, bit for bit. A path matches when one of ``config.pattern`` is found in it.
    Modules that share a weight share its adapter. What A starts from is a function of the seed and the path alone.

    Raises:
        InputError: A pattern that is no regular expression or matches nothing, with the paths that there are.
    """
    users: dict[int, dict[str, Any]] = {}  # by weight: who uses it, by path
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, ADAPTED) and not parametrize.is_parametrized(module):
            users.setdefault(id(module.weight), {})[path] = module
    chosen = _matching(config.pattern, [path for sharing in users.values() for path in sharing])
    adapted: list[str] = []
    for sharing in users.values():
        if not chosen.intersection(sharing):
            continue
        first = next(iter(sharing))
        adapter = LowRank(sharing[first].weight, config.rank, config.alpha, seed_for(seed, "lora", first))
        for sharer in {id(m): m for m in sharing.values()}.values():
            parametrize.register_parametrization(sharer, "weight", adapter)
        adapted += sharing
    return adapted


def is_adapter(parameter_name: str) -> bool:
    """Whether a parameter is an adapter's A or B, by its name (``....parametrizations.weight.0.a``)."""
    return bool(ADAPTER.search(parameter_name))


def merge(model: nn.Module) -> None:
    """Bake every adapter's product into its weight and take the adapters away, in place.

    The names of the state are the original ones again; whether a weight requires a gradient stays as it is.
    """
    adapted: list[Any] = [module for module in model.modules() if _adapted(module)]
    baked = [module.weight.detach().clone() for module in adapted]
    for module, weight in zip(adapted, baked, strict=True):
        original = module.parametrizations.weight.original
        # By hand: torch's own removal takes ``weight`` from the class, which a deep copy of the module shares.
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
        module.weight = original
        with torch.no_grad():
            original.copy_(weight)  # modules that share a weight write the same twice


def _adapted(module: Any) -> bool:
    return parametrize.is_parametrized(module, "weight") and isinstance(module.parametrizations.weight[0], LowRank)


def _matching(patterns: Iterable[str], paths: list[str]) -> set[str]:
    chosen: set[str] = set()
    for pattern in patterns:
        try:
            rule = re.compile(pattern)
        except re.error as error:
            raise InputError(f"freeze.pattern: {pattern!r} is no regular expression ({error})", "escape it") from None
        found = {path for path in paths if rule.search(path)}
        if not found:
            what = f"freeze.pattern: {pattern!r} matches no linear layer or convolution"
            raise InputError(what, nearest(pattern, paths))
        chosen |= found
    return chosen
