"""Freeze: which parameters train in which epoch, and the proof that the others did not move."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from tlx.config.groups import NoFreeze, TrunkFreeze
from tlx.errors import FrozenMovedError, InputError

Freeze = TrunkFreeze | NoFreeze


def trained(policy: Freeze, names: Iterable[str], epoch: int) -> frozenset[str]:
    """Name the parameters that train in an epoch: a function of the policy and the epoch, never of events.

    Raises:
        InputError: Nothing would train.
    """
    chosen = frozenset(n for n in names if isinstance(policy, NoFreeze) or n.startswith("head."))
    if not chosen:
        raise InputError(f"freeze={policy.kind} leaves 0 trainable parameters in epoch {epoch}", "choose freeze=none")
    return chosen


def sleeping(module: nn.Module, trained_names: frozenset[str], prefix: str = "") -> list[nn.Module]:
    """Find the outermost modules that have parameters of which none trains: those that stay in eval mode."""
    names = [f"{prefix}{name}" for name, _ in module.named_parameters()]
    if names and not trained_names.intersection(names):
        return [module]
    found = []
    for name, child in module.named_children():
        found += sleeping(child, trained_names, f"{prefix}{name}.")
    return found


def frozen_tensors(network: nn.Module, trained_names: frozenset[str]) -> dict[str, torch.Tensor]:
    """Collect every frozen parameter, and every buffer of a module that sleeps."""
    asleep = {id(m) for outer in sleeping(network, trained_names) for m in outer.modules()}
    tensors = {n: p for n, p in network.named_parameters() if n not in trained_names}
    for path, module in network.named_modules():
        if id(module) in asleep:
            for name, buffer in module.named_buffers(prefix=path, recurse=False):
                tensors[name] = buffer
    return tensors  # type: ignore[return-value]


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Hash each tensor's type, shape and bytes (sha256, hex)."""
    hashes = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{plain.dtype}{tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
        hashes[name] = digest.hexdigest()
    return hashes


def combined(hashes: Mapping[str, str]) -> str:
    """Fold the hashes of named tensors into one (sha256, hex), whatever their order."""
    return hashlib.sha256("".join(f"{n}={h};" for n, h in sorted(hashes.items())).encode()).hexdigest()


def assert_unmoved(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Compare two fingerprints of the frozen tensors.

    Raises:
        FrozenMovedError: Names the tensors that changed.
    """
    moved = [name for name in before if before[name] != after.get(name)]
    if moved:
        listed = ", ".join(moved[:5]) + (f" and {len(moved) - 5} more" if len(moved) > 5 else "")
        raise FrozenMovedError(f"{len(moved)} frozen tensors moved during training: {listed}", "please report this")
