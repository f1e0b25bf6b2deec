"""What was found before: found again for the same question, and harmless where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tlx.training.remembered import Remembered

QUESTION: dict[str, Any] = {"of": "x", "shape": (1, 2), "none": None}


def test_an_answer_is_found_for_its_question_and_for_no_other(tmp_path: Path) -> None:
    assert Remembered(tmp_path / "new", QUESTION).read() is None
    Remembered(tmp_path / "new", QUESTION).write({"found": [1, 2.5]}, seconds=0.1)
    assert Remembered(tmp_path / "new", {**QUESTION, "shape": [1, 2]}).read() == {"found": [1, 2.5]}
    for change in ({"of": "y"}, {"shape": (1, 3)}, {"none": 0}, {"more": 1}):
        assert Remembered(tmp_path / "new", QUESTION | change).read() is None


def test_without_a_folder_nothing_is_kept() -> None:
    Remembered(None, QUESTION).write(1)
    assert Remembered(None, QUESTION).read() is None


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"answer": 1}', '{"answer": 1, "question": {"of": "y"}}'])
def test_a_damaged_file_is_no_answer(content: str, tmp_path: Path) -> None:
    remembered = Remembered(tmp_path, QUESTION)
    remembered.write(1)
    assert remembered.read() == 1
    assert remembered.path is not None
    assert json.loads(remembered.path.read_text())["question"]["of"] == "x"
    remembered.path.write_text(content)
    assert remembered.read() is None


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Remembered(tmp_path / "file", QUESTION).write(1)
    assert Remembered(tmp_path / "file", QUESTION).read() is None
