"""Filters: the windows with which Pillow resizes, over distances in pixels of the coarser image."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch


def _box(x: torch.Tensor) -> torch.Tensor:
    return ((x > -0.5) & (x <= 0.5)).to(x)


def _bilinear(x: torch.Tensor) -> torch.Tensor:
    return (1 - x.abs()).clamp_min(0)


def _hamming(x: torch.Tensor) -> torch.Tensor:
    x = x.abs()
    cosine = torch.sin(math.pi * (x + 0.5))  # runtimes know a sine of 64 bits, but not all a cosine
    return torch.where(x < 1, _sinc(x) * (0.54 + 0.46 * cosine), 0.0)


def _bicubic(x: torch.Tensor) -> torch.Tensor:
    a, x = -0.5, x.abs()
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: torch.Tensor) -> torch.Tensor:
    return torch.where((x >= -3) & (x < 3), _sinc(x) * _sinc(x / 3), 0.0)


def _sinc(x: torch.Tensor) -> torch.Tensor:
    angle = math.pi * torch.where(x == 0, 1.0, x)
    return torch.where(x == 0, 1.0, torch.sin(angle) / angle)


# The function, and how far from its centre it reaches.
FILTERS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
