"""Doubts: what speaks against a run's own case is said in a line, and nothing where nothing does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.advice.facts import auto, profile
from tests.conftest import TINY, Answer
from tlx.config.groups import AutoCut
from tlx.training.doubts import FEW, MANY, doubts

Command = Callable[..., Answer]


def test_many_images_under_a_head_alone_are_doubted() -> None:
    cases = auto().cases
    (told,) = doubts(cases["small_similar"], 50_000, None)
    assert "50,000 training images" in told
    assert "case=large_similar" in told
    assert doubts(cases["small_similar"], MANY - 1, None) == []
    assert doubts(cases["large_similar"], 50_000, None) == []


def test_few_images_for_random_weights_are_doubted() -> None:
    cases = auto().cases
    (told,) = doubts(cases["large_different"], 200, None)
    assert "case=small_similar" in told
    assert doubts(cases["large_different"], FEW, None) == []


@pytest.mark.parametrize(("loss", "count"), [(0.2, 1), (0.06, 1), (0.04, 0), (0.0, 0)])
def test_a_cut_that_loses_is_doubted(loss: float, count: int) -> None:
    config = auto().cases["small_different"]
    found = profile([0.8 - loss, 0.8])
    first, second = found.rows
    plain = replace(found, cut=0, rows=(replace(first, loss=loss), second)).plain()
    told = doubts(config, 100, plain)
    assert len(told) == count
    assert all("cut=auto" in one and f"{100 * loss:.0f} points" in one for one in told)
    assert doubts(replace(config, cut=AutoCut()), 100, plain) == []


def test_a_loss_within_its_errors_is_no_doubt() -> None:
    found = profile([0.5, 0.7])
    first, second = found.rows
    plain = replace(found, cut=0, rows=(replace(first, loss=0.2, standard_error=0.2), second)).plain()
    assert doubts(auto().cases["small_different"], 100, plain) == []


def test_a_run_says_its_doubts_at_its_end_and_on_its_page(tlx: Command, tmp_path: Path) -> None:
    words = ("data=digits", "trainer.max_epochs=1", "hydra.run.dir=run", "report=true")
    answer = tlx("case=large_different", *TINY, *words)
    assert answer.code == 0, answer.err
    (told,) = json.loads((tmp_path / "run" / "result.json").read_text())["doubts"]
    assert any(line.startswith("doubt ") and told in line for line in answer.out.splitlines())
    assert told.split(";")[0] in (tmp_path / "run" / "report.html").read_text()
