"""Fingerprint: the bytes of tensors as hashes, and the proof that none moved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

from tlx.errors import FrozenMovedError


def hashed(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
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
