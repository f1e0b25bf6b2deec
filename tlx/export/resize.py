"""Resize: Pillow's antialiased resizing and the centre crop behind it, in operations that a graph can hold.

Pillow resizes one axis after the other. Every pixel of the result is a weighted sum of the pixels around its place;
the weights are whole multiples of 2^-22, and each pass ends in whole grey levels. Here a pass is a product with the
matrix of these weights, which is computed from the image's size; only the rows and columns that the crop keeps are
there. All of it is exact in 64 bits, so that the result is Pillow's own, level by level.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import nn

from tlx.export.filters import FILTERS

UNIT = 2.0**22  # of Pillow's weights


class Resize(nn.Module):
    """Images (N, H, W, 3) of whole levels 0 to 255 to (N, 3, S, S) float64, likewise: short side, then centre crop.

    ``side`` is what the short side is resized to, in pixels. H and W may be anything from 1.
    """

    def __init__(self, image_size: int, side: int, interpolation: str) -> None:
        super().__init__()
        self.image_size = image_size
        self.side = side
        self.interpolation = interpolation
        self.tall = tall()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Resize and crop."""
        count_h, count_w = images.shape[1], images.shape[2]
        height, width = _number(count_h), _number(count_w)
        short = torch.minimum(height, width)
        vertical = self._weights(count_h, height, short)
        horizontal = self._weights(count_w, width, short).T
        pixels = images.permute(0, 3, 1, 2).to(torch.float64)
        vertically_first = (height > self.tall * width) & (height > self._resized(height, short))
        if torch.compiler.is_compiling():
            resized: torch.Tensor = torch.cond(
                vertically_first, _vertically_first, _horizontally_first, (pixels, vertical, horizontal)
            )
            return resized
        how = _vertically_first if vertically_first else _horizontally_first  # outside a graph, `cond` would make one
        return how(pixels, vertical, horizontal)

    def _resized(self, size: torch.Tensor, short: torch.Tensor) -> torch.Tensor:
        return torch.floor(self.side * size / short)

    def _weights(self, count: int, size: torch.Tensor, short: torch.Tensor) -> torch.Tensor:
        """Return the weights (S, count) of an axis of ``size`` pixels, where the shorter one has ``short``.

        A row is a pixel that the crop keeps. One that lies outside the resized image, in the black frame around what
        is smaller than the crop, has no weights.
        """
        new = self._resized(size, short)
        spare = new - self.image_size
        first = torch.where(spare >= 0, torch.round(spare / 2), -torch.floor(-spare / 2))
        out = torch.arange(self.image_size, dtype=torch.float64)[:, None] + first
        at = torch.arange(count, dtype=torch.float64)[None]
        scale = size / new
        centre = (out + 0.5) * scale
        inside = (out >= 0) & (out < new)
        if self.interpolation == "nearest":
            return (inside & (at == torch.floor(centre))).to(torch.float64) * UNIT
        window, support = FILTERS[self.interpolation]
        coarser = scale.clamp_min(1.0)
        low = torch.floor(centre - support * coarser + 0.5).clamp_min(0)
        high = torch.minimum(torch.floor(centre + support * coarser + 0.5), size)
        weights = torch.where(inside & (at >= low) & (at < high), window((at - centre + 0.5) * (1.0 / coarser)), 0.0)
        total = weights.sum(1, keepdim=True)
        shares = weights / torch.where(total == 0, 1.0, total) * UNIT
        return torch.floor(shares.abs() + 0.5) * torch.sign(shares)


def _number(count: int) -> torch.Tensor:
    """Turn a size, which a graph knows only when it runs, into a number to compute with."""
    return torch.full((), count, dtype=torch.float64)


def _levels(sums: torch.Tensor) -> torch.Tensor:
    return torch.floor((sums + UNIT / 2) / UNIT).clamp(0, 255)


def _vertically_first(pixels: torch.Tensor, vertical: torch.Tensor, horizontal: torch.Tensor) -> torch.Tensor:
    return _levels(_levels(vertical @ pixels) @ horizontal)


def _horizontally_first(pixels: torch.Tensor, vertical: torch.Tensor, horizontal: torch.Tensor) -> torch.Tensor:
    return _levels(vertical @ _levels(pixels @ horizontal))


@cache
def tall() -> float:
    """Return how many times as high as wide an image is from which on Pillow shrinks its height first.

    It was 100; a later Pillow does so above 2. Tried out, for what is exported must do what this Pillow did.
    """
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 30), dtype=np.uint8))
    how = Image.Resampling.BILINEAR
    at_once, height_first = noise.resize((10, 30), how), noise.resize((30, 30), how).resize((10, 30), how)
    return 2.0 if at_once.tobytes() == height_first.tobytes() else 100.0
