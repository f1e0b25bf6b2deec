"""Anchor: decay towards the weights that a training starts from, L2-SP (Li, Grandvalet and Davoine, 2018)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from tlx.network.anatomy import TRUNK
from tlx.network.head_alone import Trainable
from tlx.network.lora import is_adapter


class Anchor:
    """Holds the trunk's weights at the start of a phase, which are the pretrained ones: no earlier phase trains any.

    Low-rank adapters have no pretrained weights, and the weights that they adapt are frozen: they are left alone.
    The start is part of the checkpoint, for a resumed run begins with other weights.
    """

    def __init__(self, network: Trainable, trained: Iterable[str], strength: float) -> None:
        self.network = network
        self.strength = strength
        chosen = {name for name in trained if name.startswith(TRUNK) and not is_adapter(name)}
        self.start = {n: p.detach().clone() for n, p in network.named_parameters() if n in chosen}

    def penalty(self) -> torch.Tensor | float:
        """Return ``strength / 2 * |w - w0|^2`` over what trains now; its gradient is ``strength * (w - w0)``."""
        terms = []
        for name, parameter in self.network.named_parameters():
            if name in self.start and parameter.requires_grad:
                start = self.start[name] = self.start[name].to(parameter.device)
                terms.append((parameter - start).square().sum())
        return 0.5 * self.strength * sum(terms)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights that the phase started from."""
        return self.start

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take over the weights that the phase started from."""
        self.start = dict(state)
