"""One thread: how small work is computed.

Threads that share an operation wait for each other at its end. Of operations that take microseconds they gain nothing,
and where other programs use the machine as well, every one of them may wait for a thread that is not running: what
takes a second alone then takes a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 5 * 10**7  # multiply-adds an operation, below which it is small: some milliseconds


@contextmanager
def one_thread(small: bool = True) -> Iterator[None]:
    """Compute the block on one thread of the processor, if it is small work."""
    before = torch.get_num_threads()
    if not small or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
