"""The race: its rule, its record, and that who wins is bit for bit what it would have become alone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TINY
from tests.interrupting import Command, differences, interrupted_and_resumed, state_of
from tlx.storage import read_tensors
from tlx.training.race import judge, rungs

RUN = (
    "case=large_different", *TINY, "data=digits", "data.per_class=4", "data.batch_size=12", "trainer.max_epochs=6",
    "callbacks.progress=false", "init=race",
)  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """Make 'pretrained' weights of the tiny network: those of another seed."""
    import timm

    from tlx.storage import write_tensors

    torch.manual_seed(5)
    path = tmp_path / "weights.safetensors"
    write_tensors(path, timm.create_model("test_resnet").state_dict())
    return f"init.file={path}"


def scores(pretrained: float, scratch: float, error: float = 0.1) -> dict[str, dict[str, float]]:
    losses = {"pretrained": pretrained, "scratch": scratch}
    return {arm: {"loss": loss, "standard_error": error, "accuracy": 0.5} for arm, loss in losses.items()}


@given(st.integers(1, 200), st.floats(0.01, 1.0))
def test_rungs_double_and_end_with_the_share(epochs: int, share: float) -> None:
    pauses = rungs(epochs, share)
    assert pauses[-1] == pytest.approx(share * epochs)
    assert [b / a for a, b in pairwise(pauses)] == pytest.approx([2, 2])


def test_the_rule() -> None:
    assert judge(scores(1.0, 1.2), 3.0, final=False)["falls"] is None
    assert judge(scores(1.0, 1.2), 3.0, final=True)["falls"] == "scratch"
    assert judge(scores(1.2, 1.0), 3.0, final=True)["falls"] == "pretrained"
    verdict = judge(scores(1.0, 2.0), 3.0, final=False)
    assert verdict["falls"] == "scratch"
    assert verdict["standard_error"] == pytest.approx(0.02**0.5)
    assert judge(scores(1.0, 2.0), 30.0, final=False)["falls"] is None
    assert judge(scores(1.0, 1.0), 0.0, final=True)["falls"] == "scratch"  # equal: pretrained goes on


def test_the_winner_is_what_it_would_have_become_alone(tlx: Command, tmp_path: Path, weights: str) -> None:
    answer = tlx(*RUN, weights, "hydra.run.dir=race")
    assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "race" / "result.json").read_text())
    record = result["race"]
    winner = record["winner"]
    assert f"{ {'pretrained': 'scratch', 'scratch': 'pretrained'}[winner] } falls" in answer.out
    loser = ({"pretrained", "scratch"} - {winner}).pop()
    assert len(record["curves"][winner]) == 6
    assert len(record["curves"][loser]) <= 2  # of 2.1 epochs
    assert record["cost"] == pytest.approx(1 + record["decisions"][-1]["epochs"] / 6)
    assert record["cost"] < 1.4
    assert record["decisions"][-1]["falls"] == loser
    assert result["init"] == "race"
    assert result["best"]["phase"] == winner
    assert result["best"]["val"]["loss"] == pytest.approx(result["metrics"]["val"]["loss"], abs=1e-5)
    alone = (f"init={winner}", *([weights] if winner == "pretrained" else []))
    assert tlx(*RUN, *alone, "hydra.run.dir=alone").code == 0
    raced, single = (read_tensors(tmp_path / f / "model" / "weights.safetensors") for f in ("race", "alone"))
    assert all(torch.equal(raced[n], single[n]) for n in single)
    assert result["metrics"] == json.loads((tmp_path / "alone" / "result.json").read_text())["metrics"]
    csv = (tmp_path / "race" / "metrics.csv").read_text()
    assert all(csv.count(f"\n{arm},") == len(record["curves"][arm]) for arm in record["curves"])


# The second arm, the winner going on; the first, both again.
@pytest.mark.parametrize("step", [4, 24, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 9, 14))])
def test_a_resumed_race_is_exact(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, step: int
) -> None:
    words = (*RUN, weights)
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_a_resumed_race_takes_decisions_over(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """Negative control: a decision in the checkpoints beats what the histories would say now."""
    from tests.interrupting import interrupt_after

    with monkeypatch.context() as patched:
        import signal

        interrupt_after(patched, 26, "on_train_batch_end", signal.SIGTERM)
        assert tlx(*RUN, weights, "hydra.run.dir=broken").code == 143
    path = tmp_path / "broken" / "checkpoints" / "decisions.json"
    taken = json.loads(path.read_text())
    last = [name for name in taken if "falls" in taken[name]][-1]
    other = {"pretrained": "scratch", "scratch": "pretrained"}[taken[last]["falls"]]
    taken[last]["falls"] = other
    path.write_text(json.dumps(taken))
    assert tlx("resume", "run=broken").code == 0
    record = json.loads((tmp_path / "broken" / "result.json").read_text())["race"]
    assert record["winner"] != other


def test_a_race_wants_whole_networks(tlx: Command) -> None:
    answer = tlx(*RUN, "freeze=trunk", "init.file=nothing.safetensors")
    assert answer.code == 2
    assert "init=race trains whole networks" in answer.err
