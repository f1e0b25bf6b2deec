"""The images on the terminal: short where all is well, yellow where it is not."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from tlx.results import data_table
from tlx.results.console import printable
from tlx.results.progress import bar


def facts(**others: Any) -> dict[str, Any]:
    counted = {"cat": 20, "dog": 10}
    nothing = {"images": 0, "by_split": {}, "examples": []}
    return {
        "classes": ["cat", "dog"], "scan": "headers", "images": 90, "given": {"train": counted},
        "splits": {"train": counted, "val": counted, "test": counted}, "bad": [], "modes": {"RGB": 88, "L": 2},
        "bytes": None, "width": {"min": 20, "median": 30.0, "max": 4000}, "height": None, "turned_by_exif": 3,
        "duplicates": {"across_splits": nothing, "across_labels": nothing}, "near_duplicates": None,
        "notes": ["a note"], "warnings": ["a warning"], **others,
    }  # fmt: skip


def shown(printing: Any, given: dict[str, Any], colours: bool = False) -> str:
    stream = io.StringIO()
    printing(
        Console(file=stream, width=100, force_terminal=colours, color_system="standard" if colours else None), given
    )
    return stream.getvalue()


def test_train_shows_a_line_a_split() -> None:
    lines = shown(data_table.brief, facts()).splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["split", "images", "smallest", "class", "largest", "class"], ["train", "30", "dog", "10", "cat", "20"],
    ]  # fmt: skip
    assert lines[4:] == ["scan      headers of 90 images, 88 RGB, 2 L"]
    assert shown(data_table.brief, facts(scan=None)) == ""


def test_inspect_shows_every_class_and_what_was_seen() -> None:
    text = shown(data_table.show, facts())
    assert "cat       20   20    20" in text
    assert "all       30   30    30" in text
    assert "width     20 to 4,000 px, median 30" in text
    assert "height" not in text
    assert "equal     0 images across given splits, 0 under different labels" in text
    refused = {key: value for key, value in facts().items() if key != "splits"}
    assert "cat       20\n" in shown(data_table.show, refused)  # of a run that has no splits yet


def test_many_classes_are_cut_in_the_middle() -> None:
    names = [f"class {index:03}" for index in range(100)]
    text = shown(data_table.show, facts(classes=names, splits={"train": dict.fromkeys(names, 1)}))
    assert "... 70 more" in text
    assert ("class 014" in text, "class 015" in text, "class 085" in text) == (True, False, True)
    assert "... " not in shown(data_table.show, facts(classes=names[:30], splits={"train": dict.fromkeys(names, 1)}))


def test_only_warnings_are_yellow() -> None:
    text = shown(data_table.remarks, facts(), colours=True)
    assert "\x1b[33m a warning" in text
    assert "\x1b[33m a note" not in text
    found = {"images": 2, "by_split": {}, "examples": []}
    spoilt = facts(duplicates={"across_splits": found, "across_labels": found}, splits={"train": {"cat": 2, "dog": 0}})
    assert "\x1b[33m 2 images across given splits" in shown(data_table.show, spoilt, colours=True)
    assert "\x1b[33m" not in shown(data_table.show, facts(), colours=True)


def test_bad_images_are_listed_up_to_a_limit() -> None:
    rows = [{"image": f"{index}.png", "reason": "broken", "detail": "half"} for index in range(33)]
    text = shown(data_table.bad, facts(bad=rows))
    assert ("29.png  broken: half" in text, "30.png" in text, "and 3 more" in text) == (True, False, True)
    assert shown(data_table.bad, facts()) == ""


@pytest.mark.parametrize(
    ("text", "seen"),
    [("plain é 日本 🐝", "plain é 日本 🐝"), ("\x1b[31m", r"\x1b[31m"), ("a\tb\r", r"a\tb\r"), ("\udcff", r"\udcff"),
     ("a\nb", "a\nb")],
)  # fmt: skip
def test_what_a_terminal_would_obey_is_escaped(text: str, seen: str) -> None:
    assert printable(text) == seen


def test_names_are_escaped_in_every_table() -> None:
    name, counted = "\x1b[2J\udcff", {"\x1b[2J\udcff": 3}
    odd = facts(
        classes=[name], splits={"train": counted}, notes=[name], bad=[{"image": name, "reason": name, "detail": ""}]
    )
    for printing in (data_table.brief, data_table.show, data_table.remarks, data_table.bad):
        assert "\x1b" not in shown(printing, odd)
        shown(printing, odd).encode()


def test_a_bar_shows_on_a_terminal_alone() -> None:
    for terminal, shows in ((True, True), (True, False), (False, True)):
        stream = io.StringIO()
        with bar(Console(file=stream, force_terminal=terminal), "scan", shows) as progress:
            progress(5, 10)
            progress(10, 10)
        assert ("10/10" in stream.getvalue()) == (terminal and shows)
        assert bool(stream.getvalue()) == (terminal and shows)
