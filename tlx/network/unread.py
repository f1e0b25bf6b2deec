"""Unread: what a trunk holds that its features do not depend on, found by a pass and dropped with a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tlx.errors import InputError
from tlx.network.trace import connected, probe

Undo = Callable[[], None]
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
PASSES = 24  # that may fail; timm's networks need none of them


class Unread(nn.Module):
    """Stands in for a module whose output nothing reads: no parameters, zeros of the same shape, no computation.

    ``shape`` is the output's for one image, (K, ...) for an input of length ``K_in``; a batch of N gives (N K, ...).
    None: the module never ran, and what it is given comes back.
    """

    def __init__(self, shape: tuple[int, ...] | None, length: int) -> None:
        super().__init__()
        self.shape = shape
        self.length = length

    def forward(self, *inputs: Any, **_: Any) -> Any:
        """Return zeros."""
        if self.shape is None:
            return inputs[0]
        given = next(x for x in inputs if isinstance(x, torch.Tensor))
        return given.new_zeros((self.shape[0] * given.shape[0] // self.length, *self.shape[1:]))


@dataclass
class Call:
    """How a module ran: the length of its first tensor and its output's shape; ``single`` if it can be stood in for."""

    length: int
    shape: tuple[int, ...]
    single: bool = True


def drop_unread(trunk: nn.Module, image_size: int) -> None:
    """Drop, in place, every module and parameter of ``trunk`` that its features do not depend on.

    They are what a backward pass from the features would not reach: what never ran, and what ran beside the way to
    the features. The proof: one more pass returns, bit for bit, what it returned before. Where it fails, for the code
    looks at something that it does not use, or computes outside the graph, halves are tried, of these halves, and so
    on for at most ``PASSES`` passes; what is left by then stays.
    """
    calls: dict[nn.Module, Call] = {}
    hooks = [m.register_forward_hook(_recorder(calls)) for m in trunk.modules()]
    try:
        features = probe(trunk, image_size, graph=True)
    finally:
        for hook in hooks:
            hook.remove()
    read = connected(features.grad_fn)
    features = features.detach()
    found = list(_droppable(trunk, read, calls))
    left = PASSES
    waiting = [[drop for drop, ran in found if ran is which] for which in (True, False)]  # the last is tried first
    while waiting and left:
        drops = waiting.pop()
        undo = [drop() for drop in drops]
        if not undo or same(features, trunk, image_size, graph=True):
            continue
        left -= 1
        for back in reversed(undo):
            back()
        if len(drops) > 1:
            waiting += [drops[len(drops) // 2 :], drops[: len(drops) // 2]]


def same(features: torch.Tensor, module: nn.Module, image_size: int, graph: bool = False) -> bool:
    """Whether a module returns just these features, bit for bit; ``graph`` as when they were made."""
    try:
        now = probe(module, image_size, graph=graph)
    except (InputError, TypeError, AttributeError):  # what stands in for a dropped module has not all it had
        return False
    return isinstance(now, torch.Tensor) and now.shape == features.shape and equal(now, features)


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors hold the same numbers; a NaN equals a NaN. A skeleton's (see cost.py) hold none."""
    return (
        one.is_meta
        or torch.equal(one, other)
        or bool(torch.isclose(one, other, rtol=0.0, atol=0.0, equal_nan=True).all())
    )


def _recorder(calls: dict[nn.Module, Call]) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        given = next((x for x in inputs if isinstance(x, torch.Tensor) and x.dim()), None)
        single = given is not None and isinstance(output, torch.Tensor) and output.dim() > 0
        single = single and output.requires_grad  # else it computes outside the graph, which then tells nothing
        call = Call(given.shape[0], tuple(output.shape)) if single and given is not None else Call(1, (), False)
        if module in calls and calls[module] != call:
            call.single = False  # runs several times, in several shapes
        calls[module] = call

    return hook


def _droppable(
    module: nn.Module, read: set[int], calls: dict[nn.Module, Call]
) -> Iterator[tuple[Callable[[], Undo], bool]]:
    """Yield how to drop the outermost modules, and the loose parameters, of which nothing is read; whether they ran."""
    for name, child in module._modules.items():
        if child is None:
            continue
        state = {id(p) for p in child.parameters()}
        ran = any(m in calls for m in child.modules())
        call = calls.get(child)
        if state and not state & read:
            if not ran and not isinstance(child, CONTAINERS):  # which may be looped over, or looked into
                yield _replacing(module, name, Unread(None, 1)), False
                continue
            if call is not None and call.single:
                yield _replacing(module, name, Unread(call.shape, call.length)), True
                continue
        yield from _droppable(child, read, calls)
    for name, parameter in module._parameters.items():
        if parameter is not None and parameter.is_floating_point() and id(parameter) not in read:
            yield _replacing(module, name, None), True


def _replacing(module: nn.Module, name: str, new: nn.Module | None) -> Callable[[], Undo]:
    def drop() -> Undo:
        old = getattr(module, name)
        setattr(module, name, new)
        return lambda: setattr(module, name, old)

    return drop
