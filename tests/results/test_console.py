"""What a person reads: amounts, labelled lines, the metrics table."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from tlx.results.console import amount, console, error, metrics_table, say, summary

METRICS = {"loss": 0.5, "accuracy": 0.75, "balanced_accuracy": 0.7, "macro_f1": 0.69, "calibration_error": 0.1}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (1, "1"),
        (950, "950"),
        (999, "999"),
        (1000, "1 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_600, "1 M"),
        (4_560_000, "4.56 M"),
        (999_999_999, "1 G"),
        (23_000_000_000, "23 G"),
        (10_400_000_000_000, "10.4 T"),
    ],
)
def test_amounts(count: int, text: str) -> None:
    assert amount(count) == text


@given(st.integers(0, 999 * 10**12))
def test_an_amount_is_near_the_count_and_short(count: int) -> None:
    text = amount(count)
    number, _, unit = text.partition(" ")
    value = float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[unit]
    assert abs(value - count) <= 0.005 * count
    assert "e" not in text
    assert len(text) <= 6


def lines(call: Any, width: int = 60) -> str:
    text = io.StringIO()
    call(Console(file=text, width=width, highlight=False, emoji=False))
    return text.getvalue()


@pytest.mark.parametrize("text", ["[red]x", "/a/[b]/c", "[/bold]", ":cat:", "back\\", "[bold]\\[x]"])
def test_a_line_says_what_it_was_given(text: str) -> None:
    assert lines(lambda out: say(out, "folder", text)) == f"folder    {text}\n"


def test_a_long_path_stays_in_one_piece() -> None:
    path = "/very/long" * 30
    assert path in lines(lambda out: say(out, "folder", path))


def test_the_real_console_turns_no_words_into_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    say(console(), "folder", "/data/:cat:/1234 'x'")
    assert capsys.readouterr().out == "folder    /data/:cat:/1234 'x'\n"


def test_the_table_has_a_line_a_split() -> None:
    text = lines(
        lambda out: out.print(metrics_table({"train": METRICS, "test": METRICS}, {"train": 1234, "test": 5})), 99
    )
    rows = [line.split() for line in text.splitlines()]
    assert rows[1] == ["train", "1,234", "0.5000", "0.7500", "0.7000", "0.6900", "0.1000"]
    assert rows[2][:2] == ["test", "5"]
    assert len(rows) == 3


def result(**changes: Any) -> dict[str, Any]:
    return {
        "parameters": {"kept": 700_000, "dropped": 7_000, "frozen": 700_000, "trained": 1_930},
        "surgery": {"cut": "behind stage layer2", "trained": "the new fully connected layer"},
        "frozen_unchanged": True,
        "metrics": {"test": METRICS},
        "images": {"test": 5},
        "seconds": {"total": 3.21, "imports": 2.0, "data": 0.01, "fit": 1.0},
        "run_dir": "/runs/[x]",
        **changes,
    }


def test_the_summary_says_what_was_done_and_where() -> None:
    text = lines(lambda out: summary(out, result()))
    for part in ("700 k parameters kept, 7 k dropped", "unmoved: fingerprints equal", "1.93 k parameters", "/runs/[x]"):
        assert part in text
    assert "3.2 s (imports 2.0, fit 1.0)" in text
    assert "MOVED" in lines(lambda out: summary(out, result(frozen_unchanged=False)))
    none = lines(lambda out: summary(out, result(parameters={"kept": 1, "dropped": 0, "frozen": 0, "trained": 1})))
    assert "0 parameters" in none
    assert "unmoved" not in none


def test_an_error_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    error("[red]what; mend it")
    assert capsys.readouterr() == ("", "tlx: error: [red]what; mend it\n")


def test_a_piped_table_has_no_spaces_at_its_lines_ends(capsys: pytest.CaptureFixture[str]) -> None:
    out = console()
    out.print(metrics_table({"test": METRICS}, {"test": 5}))
    table = Table(box=None)
    table.add_column("name")
    table.add_row("long name")
    table.add_row("x")
    out.print(table)
    text = capsys.readouterr().out
    assert "long name\n" in text
    assert not [line for line in text.splitlines() if line.endswith(" ")]


def test_nobody_reading_any_more_ends_nothing() -> None:
    """As a module's own process: the test's standard output must not be sent nowhere."""
    program = (
        "import sys, time\n"
        "from tlx.results.console import console, say\n"
        "say(console(), 'first', 'line')\n"
        "sys.stdin.readline()\n"
        "for _ in range(3): say(console(), 'more', 'x' * 100_000)\n"
        "sys.stderr.write('went on')\n"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline().startswith("first")
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stderr.read() == "went on"
        assert process.wait() == 0
