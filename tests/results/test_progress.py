"""Long work tells how far it is where there is no terminal: in plain lines, now and then."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tlx.results import progress
from tlx.results.progress import bar_or_lines


def lines(monkeypatch: pytest.MonkeyPatch, often: float, terminal: bool = False) -> str:
    file, clock = io.StringIO(), iter(range(0, 1000, 10))
    monkeypatch.setattr(progress, "OFTEN", often)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with bar_or_lines(Console(file=file, force_terminal=terminal, width=100), "predict") as tell:
        for done in range(100, 1001, 100):
            tell(done, 1000)
    return file.getvalue()


def test_without_a_terminal_there_are_plain_lines_with_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told = lines(monkeypatch, 30).splitlines()
    assert len(told) == 3  # after 30, 60 and 90 seconds of 100; the last is the end itself
    for line in told:
        assert re.fullmatch(
            r"predict   [3-9]00 of 1,000, 10 a second, expected to end at \d{4}-\d\d-\d\d \d\d:\d\d", line
        )
    assert lines(monkeypatch, 1e9) == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.undo()
        file = io.StringIO()
        with bar_or_lines(Console(file=file, force_terminal=True, width=100), "predict") as tell:
            tell(500, 1000)
        assert "\x1b" in file.getvalue()
