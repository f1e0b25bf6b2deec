"""The feature bank: what a frozen trunk makes of every image, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl

from tlx.data.module import ImageModule
from tlx.network.inference import Embedder, predict
from tlx.network.network import Network


@dataclass(frozen=True)
class Bank:
    """Pooled features (N, D) float32 of one split, and its labels (N,) int64."""

    features: np.ndarray
    labels: np.ndarray


def compute(network: Network, images: ImageModule, trainer: pl.Trainer, split: str) -> Bank:
    """Run the trunk once over a split, prepared as for testing."""
    features = predict(trainer, Embedder(network), images.plain_loader(split))
    return Bank(features.numpy(), images.source.split(split).labels)
