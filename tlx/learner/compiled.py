"""Compiled: the network's forward pass through torch.compile, proven on a copy before anything trains."""

from __future__ import annotations

from copy import deepcopy

import torch

from tlx.errors import InputError, TlxError
from tlx.learner.trial import Pace, precise
from tlx.network.network import Network

BACKEND = "inductor"


def compile_forward(network: Network, batch: int, device: torch.device, pace: Pace) -> None:
    """Compile a network's forward pass in place; its parameters keep their names.

    Raises:
        InputError: It cannot be compiled here: no compiler, an operation that torch.compile does not know.
    """
    copy = deepcopy(network).to(device).train()
    copy.compile(backend=BACKEND)
    size = network.trunk.image_size
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), precise(pace, device):
            copy(images).float().sum().backward()
    except TlxError:
        raise  # a signal
    except Exception as error:  # whatever a compiler may say
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"trainer.compile=true does not work with this network on this machine: {reason}"
        raise InputError(what, "leave trainer.compile=false") from None
    network.compile(backend=BACKEND)
