"""Long work tells how far it is, and when it will end: in a bar, and without a terminal in plain lines now and then."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tlx.results import progress
from tlx.results.progress import Progress, bar


def lines(monkeypatch: pytest.MonkeyPatch, often: float, first: int = 100, shows: bool = True) -> list[str]:
    """Tell of 100 more every 10 seconds."""
    file, clock = io.StringIO(), iter(range(0, 1000, 10))
    monkeypatch.setattr(progress, "OFTEN", often)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with bar(Console(file=file, width=100), "predict", shows) as tell:
        for done in range(first, 1001, 100):
            tell(done, 1000)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(("first", "told"), [(100, ["400", "700"]), (500, ["800"])])  # from the start, or resumed
def test_without_a_terminal_there_are_plain_lines_with_an_end(
    monkeypatch: pytest.MonkeyPatch, first: int, told: list[str]
) -> None:
    said = lines(monkeypatch, 30, first)  # seconds; of the end itself nothing is said
    assert len(said) == len(told)
    for line, done in zip(said, told, strict=True):
        end = r"\d{4}-\d\d-\d\d \d\d:\d\d"
        assert re.fullmatch(rf"progress  predict: {done} of 1,000, 10 a second, expected to end at {end}", line)


def test_short_work_is_silent_and_so_is_what_shall_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 1e9) == []
    assert lines(monkeypatch, 30, shows=False) == []


def test_what_stands_still_has_no_expected_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "OFTEN", 0.0)
    file = io.StringIO()
    tell = Progress(Console(file=file, width=100), "scan")
    for done in (0, 0, 5, 5, 4):
        tell(done, 10)
    assert file.getvalue().count("\n") == 1


def test_on_a_terminal_there_is_a_bar_with_the_time_that_remains() -> None:
    file = io.StringIO()
    with bar(Console(file=file, force_terminal=True, width=100), "predict") as tell:
        tell(500, 1000, "epoch 1/2")
        assert tell._bar is not None
        tell._bar.refresh()
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", file.getvalue())
    assert "epoch 1/2" in shown
    assert "500/1000" in shown
    assert re.search(r"\d:\d\d:\d\d \S+", shown)
