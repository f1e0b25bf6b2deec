"""HeadAlone: a network's head, trained on features that are known already; the trunk is left out of it."""

from __future__ import annotations

import torch
from torch import nn

from tlx.network.anatomy import HEAD
from tlx.network.network import Network


class HeadAlone(nn.Module):
    """Pooled features (N, D) to logits (N, K), by a network's own head: what trains here trains there.

    It is to a learner what the network would be whose trunk is frozen throughout. Its state is the head's alone, under
    the network's names.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.head = network.head

    def trained_in(self, epoch: int, phase: int = 0) -> frozenset[str]:
        """Name the parameters that train: all there are."""
        return frozenset(name for name, _ in self.named_parameters())

    def no_weight_decay(self) -> set[str]:
        """Name the parameters that are not weights."""
        return {HEAD + name for name in self.head.no_weight_decay()}

    def frozen_tensors(self) -> dict[str, torch.Tensor]:
        """Collect what is frozen: nothing."""
        return {}

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Classify features."""
        return self.head.classify(features)


Trainable = Network | HeadAlone
