"""The learning-rate range test: a sensible rate, on a copy, that changes nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from tests.interrupting import Command, differences, interrupted_and_resumed, state_of
from tlx.training.lr_range import suggestion

RUN = (
    "case=large_similar", *TINY, "data=digits", "data.per_class=10", "data.batch_size=16", "trainer.max_epochs=2",
    "callbacks.progress=false", "backbone.kwargs={drop_path_rate: 0.2, drop_rate: 0.2}", "augment=light",
)  # fmt: skip


def test_auto_is_bit_for_bit_the_rate_that_it_found(tlx: Command, tmp_path: Path) -> None:
    """So the test changed neither weights nor order nor any random state."""
    answer = tlx(*RUN, "optimizer.lr=auto", "hydra.run.dir=auto")
    assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "auto" / "result.json").read_text())
    found = result["decisions"]["lr/train"]
    assert 1e-5 < found["lr"] < 0.3
    assert f"{found['lr']:.2g}, by a range test" in answer.out
    assert len(found["rates"]) == len(found["losses"]) > 20
    assert found["rates"] == sorted(found["rates"])
    assert found["lr"] == suggestion(found["rates"], found["losses"])
    assert tlx(*RUN, f"optimizer.lr={found['lr']!r}", "hydra.run.dir=given").code == 0
    auto, given = state_of(tmp_path / "auto"), state_of(tmp_path / "given")
    assert differences(auto["phases"], given["phases"]) == []
    assert differences(auto["metrics"], given["metrics"]) == []


def test_only_the_groups_that_train_are_tested_and_each_phase_has_its_own(tlx: Command, tmp_path: Path) -> None:
    words = ("freeze=lp_ft", "features=off", "optimizer.lr=auto", "hydra.run.dir=run")
    assert tlx(*RUN, *words).code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {"lr/probe", "lr/finetune"} <= set(result["decisions"])
    assert result["decisions"]["lr/probe"]["lr"] != result["decisions"]["lr/finetune"]["lr"]
    assert result["frozen_unchanged"] is True


def test_a_resumed_run_takes_the_rate_over(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*RUN, "optimizer.lr=auto")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 3, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_the_suggestion_is_a_tenth_of_where_the_loss_is_lowest_or_of_where_it_begins_to_rise() -> None:
    rates = [10.0**k for k in range(-12, 2)]
    falling = [2.0] * 8 + [1.9, 1.5, 1.0, 1.2, 3.0, 9.0]
    assert suggestion(rates, falling) == pytest.approx(rates[10] / 10)
    flat = [0.02, 0.021, 0.019, 0.02, 0.021, 0.02, 0.02, 0.02, 0.0199, 0.0198, 0.03, 0.2, 2.0, 9.0]
    assert suggestion(rates, flat) == pytest.approx(rates[10] / 10)  # 0.03 is no clear rise
    assert suggestion(rates, [0.02] * 14) == pytest.approx(rates[-1] / 10)


def test_a_loss_that_is_never_finite_is_told(tlx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlx.training import lr_range

    monkeypatch.setattr(lr_range.torch, "isfinite", lambda _: torch.tensor(False))
    answer = tlx(*RUN, "optimizer.lr=auto")
    assert answer.code == 2
    assert "the loss is not finite at any rate" in answer.err


def test_the_word_is_checked(tlx: Command) -> None:
    answer = tlx(*RUN, "optimizer.lr=automatic")
    assert answer.code == 2
    assert "optimizer.lr='automatic'" in answer.err
    assert "a number or auto" in answer.err
