"""BatchNorms: which of them see the batch of all processes, how they are brought to it, and which need two images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlx.network.trace import probe


def synchronise(network: nn.Module) -> None:
    """Let BatchNorms see the batch of all processes, in place; one that computes in a way of its own stays as it is.

    The same modules get another class, as no others can stand in for them: hooks on them (of checkpointing), lists of
    them (of what sleeps) and the activation inside timm's go on to hold. ``separate`` undoes it.
    """
    module: Any
    for module in network.modules():
        if (shared := _shared(module)) is not None:
            module.process_group = None  # all processes
            module.alone = type(module)
            module.__class__ = shared


def separate(network: nn.Module) -> None:
    """Let BatchNorms see the batch of this process again, in place."""
    for module in network.modules():
        if (alone := module.__dict__.pop("alone", None)) is not None:
            module.__class__ = alone
            del module.process_group


def _shared(module: nn.Module) -> type[nn.Module] | None:
    """Return the class that computes what a module does, over all processes."""
    if isinstance(module, nn.SyncBatchNorm) or not isinstance(module, _BatchNorm):
        return None
    if type(module).forward is BatchNormAct2d.forward:
        return SyncBatchNormAct
    return nn.SyncBatchNorm if type(module).forward is _BatchNorm.forward else None


def single(network: nn.Module, asleep: Iterable[nn.Module], image_size: int) -> list[str]:
    """Name the BatchNorms that are not ``asleep`` and see one value a channel of an image.

    Of one image alone they cannot train: a single value has no variance. One image passes through, in eval mode.
    """
    sleeping = {id(module) for outer in asleep for module in outer.modules()}
    found: list[str] = []

    def look(path: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if inputs[0].numel() == inputs[0].shape[1]:
                found.append(path)

        return hook

    hooks = [
        module.register_forward_pre_hook(look(path))
        for path, module in network.named_modules()
        if isinstance(module, _BatchNorm) and id(module) not in sleeping
    ]
    try:
        if hooks:
            probe(network, image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return found
