"""Probabilities: what a trained network says of images, averaged over the views of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from tlx.network.inference import by_parts
from tlx.network.model_folder import Model
from tlx.preprocessing import Normalise


class Likely(NamedTuple):
    """The k likeliest classes of N images and their probabilities, (N, k) each, and pooled features (N, D) or (N, 0).

    Where an image's outputs are not finite, neither are its probabilities.
    """

    classes: torch.Tensor
    probabilities: torch.Tensor
    features: torch.Tensor


class Probabilities(pl.LightningModule):
    """Predicts the ``top`` likeliest classes of images, at the model's temperature.

    Args:
        model: The network with what it needs.
        top: How many classes.
        mirrored: Whether every view counts once more as its mirror image.
        embeds: Whether to return pooled features as well, the mean over the views.
    """

    def __init__(self, model: Model, top: int, mirrored: bool = False, embeds: bool = False) -> None:
        super().__init__()
        self.network = model.network
        self.temperature = model.temperature
        self.top, self.mirrored, self.embeds = top, mirrored, embeds
        self.normalise = Normalise(model.preprocessing)
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer images than processes

    def predict_step(self, batch: Any, batch_idx: int) -> Likely:
        """Return what is likely of the images in ``batch["pixels"]``, (N, V, S, S, 3) uint8."""
        pixels: torch.Tensor = batch["pixels"]
        count, views = pixels.shape[:2]
        if not count:
            nothing = torch.empty(0, self.top)
            return Likely(nothing.long(), nothing, torch.empty(0, 0))
        images = self.normalise(pixels.flatten(0, 1).permute(0, 3, 1, 2))
        outputs = [self._outputs(images)]
        if self.mirrored:
            outputs.append(self._outputs(images.flip(3)))
        both = torch.stack(outputs, 1).unflatten(0, (count, views)).flatten(1, 2)  # (N, views, K + D)
        classes = self.network.head.num_classes
        shares = (both[..., :classes] / self.temperature).softmax(2).mean(1)
        best = shares.topk(self.top, 1)
        return Likely(best.indices, best.values, both[..., classes:].mean(1))

    def _outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits and, where they are asked for, pooled features, side by side."""
        compute = self._classified_and_embedded if self.embeds else self.network
        return by_parts(self.network, compute, images)

    def _classified_and_embedded(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.network.embed(images)
        return torch.cat([self.network.head.classify(pooled).float(), pooled.float()], 1)
