"""Preprocessing: how an image becomes a network's input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


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
