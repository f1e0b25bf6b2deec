"""Memory format: in which order a trunk's weights and images lie in memory, which changes its speed alone."""

from __future__ import annotations

import torch

from tlx.network.cut import Trunk
from tlx.network.depths import Depths
from tlx.network.points import description_of

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def formats(trunk: Trunk | Depths) -> tuple[str, ...]:
    """Name the formats that are safe for a trunk, first the one that it has from the start.

    Channels last is mostly faster for convolutions on a CPU. Code that was not written for it may fail on it, as
    ``x.view(len(x), -1)`` does: a network of the user's own stays contiguous.
    """
    return ("contiguous",) if description_of(trunk.model) else ("channels_last", "contiguous")


def lay_out(trunk: Trunk | Depths, memory_format: str) -> None:
    """Bring a trunk's weights, and from now on its images, into a format, in place. An optimizer comes afterwards."""
    trunk.memory_format = FORMATS[memory_format]
    for tensor in (*trunk.parameters(), *trunk.buffers()):
        if tensor.dim() == 4:  # of five, as lambda layers have them, `to` makes nothing
            tensor.data = tensor.data.contiguous(memory_format=trunk.memory_format)
