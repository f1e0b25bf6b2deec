"""The proof of the advice: no task is judged by what its own data set has taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.advice import experience, picture, score
from tests.benchmarks.advice.experience import Known, judged
from tlx.advice.expected import FILE
from tlx.advice.expected import experience as shipped


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Known]:
    """The tasks of one seed, and a fit that takes no time."""
    monkeypatch.setattr(experience, "APART", (0.02,))
    return [task for task in judged() if task.seed == 0]


def poisoned(tasks: Sequence[Known], own: bool) -> list[Known]:
    """Let full fine-tuning be right about everything, of the Greek letters or of all other data."""
    return [replace(t, truth={**t.truth, "full": 1.0}) if (t.data == "greek") is own else t for t in tasks]


def chosen(tasks: Sequence[Known]) -> dict[str, str]:
    return {row.task: row.chosen for row in score.scored(tasks) if row.task.startswith("greek")}


def test_every_data_set_is_left_out_where_it_is_judged(tasks: list[Known], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    fit = experience.fit

    def watched(some: Sequence[Known]) -> dict[str, Any]:
        seen.append({task.task.split("-")[0] for task in some})
        return fit(some)

    monkeypatch.setattr(score, "fit", watched)
    score.scored(tasks)
    every = {task.task.split("-")[0] for task in tasks}
    assert len(every) == 6
    same = [{"patches", "rotated_patches"}, *({name} for name in every if "patches" not in name)]
    assert sorted(map(sorted, seen)) == sorted(sorted(every - own) for own in same)


def test_what_came_of_a_data_set_says_nothing_about_it(tasks: list[Known]) -> None:
    before = chosen(tasks)
    assert chosen(poisoned(tasks, own=True)) == before
    after = chosen(poisoned(tasks, own=False))  # the negative control: what came of others does
    assert set(after.values()) == {"full"} != set(before.values())


def test_what_is_shipped_is_what_is_fitted_on_the_table() -> None:
    known, tasks = shipped(), judged()
    assert known["trainings"] == sum(len(task.strategies) for task in tasks), (
        f"python -m tests.benchmarks.advice.fit writes {FILE}"
    )
    fitted = experience.fit(tasks)
    assert {key: known[key] for key in fitted} == fitted


def test_the_picture_shows_who_wins(tasks: list[Known]) -> None:
    found = picture.won(tasks)
    assert len(found) == len({task.task for task in tasks})
    assert all(one.lead >= 0 and not one.sure for one in found)  # of one seed, nothing is sure
    full = picture.won(poisoned(tasks, own=True))
    greek = {one.case for one in full if one.task.startswith("greek")}
    assert greek == {"large_similar"}
    drawn = picture.draw(found)
    assert drawn.count("<style>") == 1
    assert "prefers-color-scheme: dark" in drawn
