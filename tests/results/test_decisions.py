"""Decisions are taken once, stand in the file before they are used, and are handed from rank 0 to all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlx.errors import InputError
from tlx.results.decisions import Decisions


def test_a_decision_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    first = Decisions(path)
    assert first.take("lr", lambda: 0.1) == 0.1
    assert json.loads(path.read_text()) == {"lr": 0.1}
    assert first.take("lr", lambda: 0.2) == 0.1
    assert Decisions(path).take("lr", lambda: pytest.fail("taken twice")) == 0.1


def test_a_failed_computation_decides_nothing(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.json")
    with pytest.raises(ZeroDivisionError):
        decisions.take("x", lambda: 1 / 0)
    assert decisions.take("x", lambda: 3) == 3


def test_other_processes_take_rank_zeros_and_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    other = Decisions(path, writes=False, share=lambda value: 7)
    assert other.take("x", lambda: 8) == 7
    assert not path.exists()


def test_without_a_file_nothing_is_kept() -> None:
    assert Decisions(None).take("x", lambda: 1) == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_text("[1]")
    with pytest.raises(InputError, match=r"decisions\.json is damaged"):
        Decisions(path)
