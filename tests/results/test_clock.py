"""The clock adds up, also what failed."""

from __future__ import annotations

import time

import pytest

from tlx.results.clock import Clock
from tlx.results.result import required


def fail(now: list[float]) -> None:
    now[0] += 3
    raise RuntimeError


def test_phases_add_up_and_the_total_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(started=90.0, imports=7.0)
    with clock.phase("fit"):
        now[0] += 5
    now[0] += 1
    with clock.phase("fit"):
        now[0] += 2
    with pytest.raises(RuntimeError), clock.phase("data"):
        fail(now)
    read = clock.read()
    assert (read["fit"], read["data"], read["imports"], read["evaluate"]) == (7.0, 3.0, 7.0, 0.0)
    assert read["total"] == 21.0
    assert list(read) == list(required()["seconds"])


def test_a_second_belongs_to_the_outermost_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(started=0.0, imports=0.0)
    with clock.phase("advice"):
        now[0] += 1
        with pytest.raises(RuntimeError), clock.phase("fit"):
            fail(now)
        now[0] += 1
    with clock.phase("fit"):
        now[0] += 2
    read = clock.read()
    assert (read["advice"], read["fit"], read["total"]) == (5.0, 2.0, 7.0)
