"""Preprocessing: how an image becomes a network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

LARGEST = 65536  # pixels; a file may say more, and a network of that input would take all memory there is


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side, crop the centre, scale to [0, 1], normalise a channel.

    ``image_size`` in pixels; ``crop`` is the share of the resized image's side that the crop keeps.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop: float

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std, self.crop)
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) or self.crop <= 0:
            raise ValueError("numbers that prepare no image")
        if not isinstance(self.image_size, int) or self.image_size < 1 or not 1 <= self.side <= LARGEST:
            raise ValueError(f"images of {self.image_size} px of {self.image_size / self.crop:g}")

    @property
    def side(self) -> int:
        """What the short side is resized to, in pixels."""
        return round(self.image_size / self.crop)

    @property
    def least(self) -> int:
        """What the short side should have before, in pixels, so that to the eye the result is the whole image's."""
        return 2 * self.side


class Normalise(nn.Module):
    """Grey levels 0 to 255, (..., 3, H, W), to normalised channels of the same shape, float32."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, seen: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(seen.mean).view(-1, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(seen.std).view(-1, 1, 1) * 255)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        """Normalise images."""
        return (levels - self.mean) / self.std
