"""Cache size: how many images a processor passes through a network at once without leaving its cache.

Of large batches the activations go to memory and back between every two layers. Measured on a processor with 32 MB of
cache, at 224 px: batches of four or eight are 1.2 to 2.8 times as fast as batches of 32 for MobileNetV1, ResNet-18,
ResNet-50, EfficientNet-B0, ConvNeXt-atto and Swin-tiny, and no slower for a ViT.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from tlx.one_thread import one_thread

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL = 32 * 2**20  # bytes, where the system tells nothing

_largest: WeakKeyDictionary[nn.Module, dict[int, int]] = WeakKeyDictionary()


def fitting(network: nn.Module, images: torch.Tensor) -> int:
    """Return how many of ``images`` (N, 3, S, S) to pass at once: a power of two, by the largest activation of one.

    Half the cache is for it, and as much for what it is made from. It is a function of the network and the machine,
    not of a timing, so that the same run rounds in the same way again.
    """
    by_size = _largest.setdefault(network, {})
    size = images.shape[-1]
    if size not in by_size:
        by_size[size] = _measured(network, images[:1])
    return 2 ** max(0, round(math.log2(_cache_bytes() / 2 / max(1, by_size[size]))))


def _measured(network: nn.Module, image: torch.Tensor) -> int:
    """Return the bytes of the largest output of any module for one image."""
    largest = 0

    def see(_: nn.Module, __: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel() * output.element_size())

    hooks = [module.register_forward_hook(see) for module in network.modules()]
    try:
        with one_thread(), torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


@cache
def _cache_bytes() -> int:
    """Return the size of the processor's largest cache, in bytes."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = []
    for told in CACHES.glob("index*/size"):
        text = told.read_text().strip()
        sizes.append(int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text))
    return max(sizes, default=USUAL)
