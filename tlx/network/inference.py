"""Inference: a LightningModule's predictions over a loader, on whatever devices and processes there are."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch


class Embedder(pl.LightningModule):
    """Predicts the pooled features of a network."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def predict_step(self, batch: Any, batch_idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a batch's images and their features."""
        return batch["index"], self.network.embed(batch["image"]).float()


class Classifier(pl.LightningModule):
    """Predicts the logits of a network."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def predict_step(self, batch: Any, batch_idx: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of a batch's images and their logits."""
        return batch["index"], self.network(batch["image"]).float()


def predict(trainer: pl.Trainer, module: pl.LightningModule, loader: Any) -> torch.Tensor:
    """Return what ``module`` predicts for every image of a split, (N, D) float32 on the CPU, in the split's order.

    ``loader`` holds this process's part; the parts of all processes come back in every process.
    """
    parts = trainer.predict(module, loader, return_predictions=True) or []
    indices = torch.cat([index.cpu() for index, _ in parts])
    values = torch.cat([value.cpu() for _, value in parts])
    if trainer.world_size > 1:
        gathered: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(gathered, (indices, values))
        indices, values = (torch.cat(column) for column in zip(*gathered, strict=True))
    return values[indices.argsort()]
