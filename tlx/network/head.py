"""Head: pooling plus the new classifier on the trunk's features."""

from __future__ import annotations

import torch
from torch import nn

from tlx.config.groups import LinearHead


class Pool(nn.Module):
    """Average a trunk's features over the image: (N, ...) to (N, D). Tokens before the patches' own are left out."""

    def __init__(self, layout: str, prefix: int) -> None:
        super().__init__()
        self.layout = layout
        self.prefix = prefix

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool."""
        if self.layout == "vector":
            return features
        if self.layout == "NLC":
            return features[:, self.prefix :].mean(1)
        return features.mean((2, 3) if self.layout == "NCHW" else (1, 2))


class Head(nn.Module):
    """Pooling, dropout, and one fully connected layer: features to logits (N, num_classes).

    The layer starts from normal(0, 0.01) weights and zero biases, drawn from the seed.
    """

    def __init__(self, config: LinearHead, layout: str, prefix: int, width: int, num_classes: int, seed: int) -> None:
        super().__init__()
        self.pool = Pool(layout, prefix)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(width, num_classes)
        with torch.no_grad():
            self.linear.weight.normal_(0.0, 0.01, generator=torch.Generator().manual_seed(seed))
            self.linear.bias.zero_()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Classify features."""
        return self.classify(self.pool(features))

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        """Classify pooled features (N, D)."""
        logits: torch.Tensor = self.linear(self.dropout(pooled))
        return logits
