"""Threads: the same work for every image of many, in order, on all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

CORES = min(8, os.cpu_count() or 1)  # that read images, as threads or as processes
CHUNK = 32  # images a task: what a task costs by itself is then nothing beside what it does


def in_threads(work: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield ``work(0)`` to ``work(count - 1)``, in order; reading, decoding and hashing let go of Python's lock.

    Only a few tasks wait at a time, so that a million images cost no memory, and a signal or an error ends it at once.
    """

    def chunk(start: int) -> list[T]:
        return [work(index) for index in range(start, min(start + CHUNK, count))]

    pool, waiting = ThreadPoolExecutor(CORES), deque[Future[list[T]]]()
    try:
        for start in range(0, count, CHUNK):
            waiting.append(pool.submit(chunk, start))
            if len(waiting) > 4 * CORES:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
