"""From pixels: a network with everything before and behind it, from raw pixels to probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tlx.export.resize import Resize
from tlx.network.memory_format import lay_out
from tlx.network.model_folder import Model
from tlx.network.neighbours import Neighbours, elect, tell
from tlx.preprocessing import Normalise


class FromPixels(nn.Module):
    """Pixels (N, H, W, 3) uint8, RGB, of any size, to probabilities (N, K) float32.

    Resizes, crops, scales, normalises, classifies, and divides the logits by the temperature. It takes the network
    over: what cannot be traced is replaced in it, by what computes the same.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        seen = model.preprocessing
        self.resize = Resize(seen.image_size, seen.side, seen.interpolation)
        self.normalise = Normalise(seen)
        network: Any = model.network
        lay_out(network.trunk, "contiguous")
        if isinstance(found := getattr(network.head, "neighbours", None), Neighbours):
            network.head.neighbours = Votes(found)
        self.trunk, self.head = network.trunk, network.head
        self.temperature = model.temperature
        for parameter in self.parameters():
            parameter.requires_grad = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images."""
        logits: torch.Tensor = self.head(self.trunk(self.normalise(self.resize(images).float())))
        return (logits.float() / self.temperature).softmax(1)


class Votes(nn.Module):
    """What ``Neighbours`` computes, of all stored features at once: their number is fixed, and a graph has no loops."""

    def __init__(self, of: Neighbours) -> None:
        super().__init__()
        self.k, self.temperature, self.sharpness = of.k, of.temperature, of.sharpness
        for name, tensor in (("rows", of.rows), ("labels", of.labels), ("votes", of.votes), ("there", of.present())):
            self.register_buffer(name, tensor)

    rows: torch.Tensor
    labels: torch.Tensor
    votes: torch.Tensor
    there: torch.Tensor

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Classify features (N, D)."""
        cosines, indices = (F.normalize(features.float(), dim=1) @ self.rows.T).topk(self.k, dim=1)
        shares = elect(cosines, self.labels[indices], self.votes[indices], self.temperature, self.there)
        return tell(shares, self.sharpness)
