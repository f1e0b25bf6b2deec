"""Trust: a run folder whose case is not decided yet holds four configs, and ``resume`` believes none of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer
from tests.reliability.test_hostile_folders import VALUES, fresh, ground, must_be_harmless, outside, places
from tlx.config.cases import CASES
from tlx.errors import InputError
from tlx.verbs import auto

__all__ = ["ground"]
WORDS = ("resume", "run=run")


def undecide(folder: Path) -> dict[str, Any]:
    """Make the run one of ``case=auto`` that was interrupted before its advice; return its config."""
    fresh(folder)
    config = json.loads((folder / "run" / "config.json").read_text())
    (folder / "run" / "result.json").unlink()
    return {"case": "auto", "cases": {case: json.loads(json.dumps(config)) for case in CASES}, "epochs_given": False}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stop where advice would be looked for; return what it would have been asked for."""
    found: list[Any] = []

    def stop(asked: Any, *_: Any) -> None:
        found.append(asked)
        raise InputError("this is far enough", "for a test")

    monkeypatch.setattr(auto, "taken", stop)
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cases": {}}, "needs all four cases"),
        ({"cases": []}, "needs all four cases"),
        ({"cases": dict.fromkeys(CASES)}, "needs all four cases"),
        ({"cases": {case: {} for case in CASES}}, "is missing"),
        ({"cases": {case: {"_target_": "os.system"} for case in CASES}}, "_target_"),
    ],
)
def test_configs_that_are_none_are_refused(
    tlx: Callable[..., Answer], ground: Path, asked: list[Any], change: dict[str, Any], told: str
) -> None:
    (ground / "run" / "config.json").write_text(json.dumps({**undecide(ground), **change}))
    before = outside(ground)
    answer = tlx(*WORDS)
    must_be_harmless(ground, answer, before, str(change))
    assert answer.code == 2
    assert told in answer.err
    assert not asked


def test_an_undecided_run_reaches_its_advice(tlx: Callable[..., Answer], ground: Path, asked: list[Any]) -> None:
    """The negative control: nothing refuses what is whole."""
    (ground / "run" / "config.json").write_text(json.dumps(undecide(ground)))
    assert "this is far enough" in tlx(*WORDS).err
    assert set(asked[0].cases) == set(CASES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [pytest.param(8, id="some"), pytest.param(120, marks=pytest.mark.reliability)])
def test_mutated_cases_are_harmless(tlx: Callable[..., Answer], ground: Path, asked: list[Any], count: int) -> None:
    rng, wrong = random.Random(0), []
    for number in range(count):
        config = undecide(ground)
        way = rng.choice(list(places(config)))
        inner: Any = config
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = value = rng.choice(VALUES)
        (ground / "run" / "config.json").write_text(json.dumps(config))
        before = outside(ground)
        what = f"{number}: {way} = {value!r:.60}"
        try:
            must_be_harmless(ground, tlx(*WORDS), before, what)
        except AssertionError as error:
            wrong.append(str(error)[:1600])
    assert not wrong, ascii("\n\n".join(wrong)).replace("\\n", "\n")
