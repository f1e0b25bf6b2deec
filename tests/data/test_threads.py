"""Work in threads: in order, few tasks at a time, and over at once when something is wrong."""

from __future__ import annotations

import threading
import time

import pytest

from tlx.data.threads import CHUNK, in_threads


@pytest.mark.parametrize("count", [0, 1, CHUNK, 10 * CHUNK + 1])
def test_results_come_in_order(count: int) -> None:
    def slow_at_first(index: int) -> int:
        time.sleep(0.002 if index < 3 else 0)
        return index * index

    assert list(in_threads(slow_at_first, count)) == [index * index for index in range(count)]


def test_an_error_comes_out_and_little_is_done_behind_it() -> None:
    done: list[int] = []

    def fail(index: int) -> None:
        done.append(index)
        if index == 5:
            raise ValueError("the fifth")

    with pytest.raises(ValueError, match="the fifth"):
        list(in_threads(fail, 1_000_000))
    assert len(done) < 100 * CHUNK


def test_who_stops_asking_stops_the_work() -> None:
    """As a signal does, in the middle of a long scan."""
    begun, go_on = [], threading.Event()

    def work(index: int) -> int:
        begun.append(index)
        if index >= CHUNK:
            go_on.wait(0.001)
        return index

    results = in_threads(work, 1_000_000)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(begun) < 100 * CHUNK
    assert threading.active_count() < 20
