"""Average: an exponential moving average of the weights (Polyak and Juditsky, 1992), kept instead of the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tlx.network.head_alone import Trainable


class Average:
    """Averages the parameters that train and the floating-point buffers of modules that are awake.

    What is frozen is neither averaged nor touched, so that it stays equal byte for byte. After t steps the decay is
    ``min(decay, (1 + t) / (10 + t))``: without that, a training shorter than 1 / (1 - decay) steps would be held at its
    random head. The state is plain tensors: a run resumed between any two steps goes on exactly.
    """

    def __init__(self, network: Trainable, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.steps = 0
        self.tensors: dict[str, torch.Tensor] = {}
        self._live: dict[str, torch.Tensor] = {}

    def begin(self) -> None:
        """Follow what is awake now: what was followed before goes on, what woke starts from what it is."""
        frozen = self.network.frozen_tensors()
        named = (*self.network.named_parameters(), *self.network.named_buffers())
        self._live = {name: tensor for name, tensor in named if name not in frozen and tensor.is_floating_point()}
        old = self.tensors
        self.tensors = {
            name: old[name].to(tensor.device) if name in old else tensor.detach().clone()
            for name, tensor in self._live.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in self._live.items():
            average = self.tensors[name]
            if isinstance(tensor, nn.Parameter):
                average.lerp_(tensor, share)
            else:  # a mask holds infinities, of which two have no difference: what did not move stays
                average.copy_(torch.where(tensor == average, average, average.lerp(tensor, share)))
        self.steps += 1

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average into the network, and keep what was there in its place; once more, and all is as before."""
        for name, tensor in self._live.items():
            kept = tensor.clone()
            tensor.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Put the average into the network for the block."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def state_dict(self) -> dict[str, Any]:
        """Return the steps taken in and the averages."""
        return {"steps": self.steps, "tensors": self.tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint stopped; ``begin`` follows."""
        self.steps, self.tensors = int(state["steps"]), dict(state["tensors"])
