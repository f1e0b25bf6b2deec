"""The race: its rule, its record, and that who wins is bit for bit what it would have become alone."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TINY
from tests.interrupting import Command, differences, interrupted_and_resumed, state_of
from tlx.config.groups import Callbacks, Checkpoint
from tlx.config.roots import TrainConfig
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


def config_with(monitor: str) -> TrainConfig:
    config = TrainConfig.__new__(TrainConfig)
    config.callbacks = Callbacks(checkpoint=Checkpoint(monitor=monitor))
    return config


def rows(*values: float, monitor: str = "accuracy") -> list[dict[str, Any]]:
    return [{f"val/{monitor}": value} for value in values]


@given(st.integers(1, 200), st.floats(0.01, 1.0))
def test_rungs_double_and_end_within_the_share(epochs: int, share: float) -> None:
    pauses = rungs(epochs, share)
    assert pauses == sorted(set(pauses))
    assert pauses[-1] == max(1, int(share * epochs + 1e-9))
    assert pauses[0] == 1
    assert all(b <= 2 * a or b == pauses[-1] for a, b in pairwise(pauses))


def test_rungs_of_the_default_cost_less_than_two_fifths() -> None:
    assert rungs(5, 0.35) == [1]
    assert rungs(20, 0.35) == [1, 2, 4, 7]
    assert all(rungs(n, 0.35)[-1] / n < 0.4 for n in range(3, 300))


def test_the_rule() -> None:
    config = config_with("accuracy")
    close = {"pretrained": rows(0.2, 0.52), "scratch": rows(0.5, 0.4)}
    assert judge(close, 100, config, 3.0, final=False)["falls"] is None
    assert judge(close, 100, config, 3.0, final=True)["falls"] == "scratch"  # the best so far counts: 0.52, 0.50
    far = {"pretrained": rows(0.2), "scratch": rows(0.8)}
    verdict = judge(far, 100, config, 3.0, final=False)
    assert verdict["falls"] == "pretrained"
    assert verdict["standard_error"] == pytest.approx((2 * 0.16 / 100) ** 0.5)
    assert judge(far, 100, config, 30.0, final=False)["falls"] is None
    equal = {"pretrained": rows(0.5), "scratch": rows(0.5)}
    assert judge(equal, 100, config, 0.0, final=True)["falls"] == "scratch"


def test_a_lower_loss_is_better_and_never_decides_early() -> None:
    config = config_with("loss")
    history = {"pretrained": rows(2.0, 1.0, monitor="loss"), "scratch": rows(9.0, monitor="loss")}
    assert judge(history, 100, config, 0.1, final=False)["falls"] is None
    assert judge(history, 100, config, 0.1, final=True)["falls"] == "scratch"
    assert judge(history, 100, config, 0.1, final=True)["best"] == {"pretrained": 1.0, "scratch": 9.0}


def test_the_winner_is_what_it_would_have_become_alone(tlx: Command, tmp_path: Path, weights: str) -> None:
    answer = tlx(*RUN, weights, "hydra.run.dir=race")
    assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "race" / "result.json").read_text())
    record = result["race"]
    winner = record["winner"]
    assert f"{ {'pretrained': 'scratch', 'scratch': 'pretrained'}[winner] } falls" in answer.out
    loser = ({"pretrained", "scratch"} - {winner}).pop()
    assert record["epochs"] == {winner: 6, loser: record["decisions"][-1]["epochs"]}
    assert {len(record["curves"][arm]) for arm in record["curves"]} == set(record["epochs"].values())
    assert result["init"] == "race"
    alone = (f"init={winner}", *([weights] if winner == "pretrained" else []))
    assert tlx(*RUN, *alone, "hydra.run.dir=alone").code == 0
    raced, single = (read_tensors(tmp_path / f / "model" / "weights.safetensors") for f in ("race", "alone"))
    assert all(torch.equal(raced[n], single[n]) for n in single)
    assert result["metrics"] == json.loads((tmp_path / "alone" / "result.json").read_text())["metrics"]
    csv = (tmp_path / "race" / "metrics.csv").read_text()
    assert csv.count("\npretrained,") == record["epochs"]["pretrained"]
    assert csv.count("\nscratch,") == record["epochs"]["scratch"]


@pytest.mark.parametrize("step", [2, 10, 14, 30])  # the first arm, the second, ..., the winner going on
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

        interrupt_after(patched, 30, "on_train_batch_end", signal.SIGTERM)
        assert tlx(*RUN, weights, "hydra.run.dir=broken").code == 143
    path = tmp_path / "broken" / "checkpoints" / "decisions.json"
    taken = json.loads(path.read_text())
    last = list(taken)[-1]
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
