"""A spreadsheet takes no text of a row for a formula, and every text can be read back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.results.spreadsheet import as_csv, cell, uncell


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x";"y")'])
def test_a_spreadsheet_finds_no_formula(text: str) -> None:
    row = read(as_csv(("run", "data", "seconds"), [{"run": text, "data": text, "seconds": -1.5}]))[0]
    assert row["run"] == row["data"] == f"'{text}".replace("\r", " ")
    assert row["seconds"] == "-1.5"  # a number is one


@pytest.mark.parametrize("text", ["", "plain", "a=1", "two\nlines", 'q"q', "a,b", "ü", "<b>&amp;"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert read(as_csv(["run"], [{"run": text}]))[0]["run"] == text


def test_of_a_row_there_stands_what_the_columns_name() -> None:
    assert as_csv(("a", "b"), [{"a": 1, "c": 3}]) == "a,b\n1,\n"


@given(st.lists(st.text(st.characters(exclude_characters="\r\0")), min_size=1, max_size=5, unique=True))
def test_every_text_is_read_back_and_stays_another(texts: list[str]) -> None:
    rows = read(as_csv(["x", "y"], [{"x": text, "y": "1"} for text in texts]))
    assert [uncell(row["x"]) for row in rows] == texts
    assert len({cell(text) for text in texts}) == len(texts)
