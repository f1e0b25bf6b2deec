"""Shared memory: how many worker processes it has room for. They hand their batches over through it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PLACE = Path("/dev/shm")
AHEAD = 2  # batches that every worker prepares ahead, as torch's loader lets them; besides, as many are being used
TENSORS, PAGE = 3, 4096  # of a batch: images, labels, indices, each in pages of its own


def free() -> int | None:
    """Return how many bytes of shared memory are free; None where there is no such limit to be known."""
    if sys.platform != "linux":
        return None
    try:
        state = os.statvfs(PLACE)
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize


def fitting(workers: int, batch_bytes: int) -> int:
    """Return how many of the wanted ``workers`` have room for their batches; 0: this process reads by itself."""
    room = free() if workers else None
    if room is None:
        return workers
    batches = room // (batch_bytes + TENSORS * PAGE)
    return max(0, min(workers, (batches - AHEAD) // AHEAD))
