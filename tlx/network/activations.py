"""Activations: what a forward pass keeps in memory for the backward pass, and how to keep less of it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from tlx.errors import InputError
from tlx.network.network import Network

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def kept_bytes(network: nn.Module, images: torch.Tensor) -> int:
    """Return the bytes that a forward pass of ``images`` (N, 3, S, S) keeps for the backward pass, weights aside.

    A storage that several operations keep counts once. The pass runs in the network's mode, and moves the statistics
    of BatchNorms that are awake: hand over a copy.
    """
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, tuple[int, torch.Tensor]] = {}  # holds the tensors: a freed place would be used again

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(images)
    del output
    return sum(size for size, _ in kept.values())


def checkpoint(network: Network) -> None:
    """Keep the activations at the ends of blocks alone, and compute those between them again in the backward pass.

    Gradient checkpointing (Chen et al., 2016) by timm: less memory for about a third more time. Gradients and the
    statistics of BatchNorms are the same; those would otherwise see every batch twice.

    Raises:
        InputError: The architecture does not offer it, or not at this cut.
    """
    model: Any = network.trunk.model
    mend = "leave trainer.checkpointing=false, or take another backbone or cut"
    before = _kept_awake(network)
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError, TypeError):
        raise InputError("trainer.checkpointing=true: this backbone offers no gradient checkpointing", mend) from None
    if _kept_awake(network) >= before:
        raise InputError("trainer.checkpointing=true keeps no less of this backbone's activations", mend)
    for module in model.modules():
        if isinstance(module, BATCH_NORMS) and module.track_running_stats:
            module.register_forward_pre_hook(_hold_statistics)
            # Also where the pass ends by an exception: it stops as soon as it has what the backward pass needs.
            module.register_forward_hook(_let_go, always_call=True)


def _kept_awake(network: Network) -> int:
    """Return what a copy keeps of two images when all of it trains."""
    copy = deepcopy(network)
    for parameter in copy.parameters():
        parameter.requires_grad = True
    copy.trained = frozenset(name for name, _ in copy.named_parameters())
    copy.asleep = []
    size = network.trunk.image_size
    with torch.random.fork_rng(devices=[]):
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        return kept_bytes(copy.train(), images)


def _again() -> bool:
    """Whether this pass runs inside a backward pass: activations are computed once more."""
    return torch._C._current_graph_task_id() != -1


def _hold_statistics(module: Any, _: Any) -> None:
    if module.training and _again():
        module.held = (module.momentum, module.num_batches_tracked)
        module.momentum = 0.0
        module.num_batches_tracked = module.num_batches_tracked.clone()  # which counts, and is thrown away


def _let_go(module: Any, *_: Any) -> None:
    if held := module.__dict__.pop("held", None):
        module.momentum, module.num_batches_tracked = held
