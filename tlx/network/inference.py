"""Inference: a LightningModule's predictions over a loader, on whatever devices and processes there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from tlx.network.cache_size import fitting


class Embedder(pl.LightningModule):
    """Predicts the pooled features of a network."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer images than processes

    def predict_step(self, batch: Any, batch_idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a batch's images and their features."""
        return batch["index"], by_parts(self.network, self.network.embed, batch["image"])


class Classifier(pl.LightningModule):
    """Predicts the logits of a network."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer images than processes

    def predict_step(self, batch: Any, batch_idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a batch's images and their logits."""
        return batch["index"], by_parts(self.network, self.network, batch["image"])


def by_parts(network: nn.Module, compute: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Compute (N, D) float32 of images (N, 3, S, S), on a processor by as many at once as its cache holds."""
    if images.device.type != "cpu":
        return compute(images).float()
    return torch.cat([compute(part).float() for part in images.split(fitting(network, images))])


def predict(trainer: pl.Trainer, module: pl.LightningModule, loader: Any) -> torch.Tensor:
    """Return what ``module`` predicts for every image of a split, (N, D) float32 on the CPU, in the split's order.

    ``loader`` holds this process's part; the parts of all processes come back in every process.
    """
    predicted = trainer.predict(module, loader, return_predictions=True) or []
    parts = [(index.cpu(), value.cpu()) for index, value in predicted]
    if trainer.world_size > 1:
        gathered: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(gathered, parts)
        parts = [part for those in gathered for part in those]
    indices, values = (torch.cat(column) for column in zip(*parts, strict=True))
    return values[indices.argsort()]
