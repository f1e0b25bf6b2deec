"""The stage column of ``inspect`` says what really trains, over policies and backbones."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, Answer
from tests.training.test_phases import POLICIES
from tlx.config.roots import TrainConfig
from tlx.learner.plan import plan
from tlx.network.network import Network
from tlx.verbs import inspect as verb

Command = Callable[..., Answer]
CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.layer3 = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(8, 5)

    def forward(self, images):
        return self.fc(self.layer3(self.layer2(self.layer1(images))).mean((2, 3)))
"""
OTHER = {
    "gradual_cut_short": ("freeze=gradual", "freeze.every=2"),
    "upto_all": ("freeze=upto", "freeze.stage=layer3"),
    "frozen": ("freeze=trunk",),
    "solved_probe": ("freeze=surgical",),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Put a network of the user's own under a name of this test's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = re.sub(r"\W", "_", f"own_{tmp_path.name}")
    (tmp_path / f"{name}.py").write_text(CODE)
    return ("backbone=custom", f"backbone.target={name}.Net", "backbone.image_size=32", "init=scratch", "trainer=cpu")


@pytest.mark.parametrize("cut", ["head", "layer2"])
@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("key", [*POLICIES, *OTHER])
def test_a_stage_is_called_frozen_iff_nothing_of_it_trains_in_any_epoch(
    tlx: Command, monkeypatch: pytest.MonkeyPatch, own: tuple[str, ...], key: str, custom: bool, cut: str
) -> None:
    words = {**POLICIES, **OTHER}[key]
    if cut != "head":
        words = (*(w.replace("layer3", "layer1") for w in words), "cut=layer", f"cut.name={cut}")
    awake: dict[str, bool] = {}
    named: dict[str, str] = {}
    original = verb.outline

    def look(config: TrainConfig, network: Network, *others: Any) -> dict[str, Any]:
        chosen = range(len(network.anatomy.stages)) if key in ("surgical", "solved_probe") else None
        for name, _ in network.trunk.model.named_parameters():
            trained = chosen is not None or any(
                f"trunk.model.{name}" in network.trained_in(epoch, phase.index)
                for phase in plan(config)
                for epoch in range(phase.epochs)
            )
            stage = name.split(".")[0] if name.startswith("layer") else "act1"
            awake[stage] = awake.get(stage, False) or trained
        told = original(config, network, *others)
        named.update({row["name"]: row["state"] for row in told["stages"]})
        return told

    monkeypatch.setattr(verb, "outline", look)
    answer = tlx("inspect", "case=large_similar", *(own if custom else TINY), "trainer.max_epochs=3", *words)
    assert answer.code == 0, answer.err
    assert len(awake) == {"head": 3, "layer2": 2}[cut] + (0 if custom else 1 + (cut == "head"))
    for stage, trains in awake.items():
        assert (named[stage] == "frozen") == (not trains), (stage, named)
        (line,) = (line for line in answer.out.splitlines() if re.match(rf"\s+\d+\s+{stage}\s", line))
        assert re.search(rf"kept, {re.escape(named[stage])}\s*$", line)


def test_what_the_probe_will_choose_is_not_told_before_it(tlx: Command) -> None:
    answer = tlx("inspect", "case=small_similar", *TINY, "freeze=surgical", "trainer.max_epochs=3")
    assert answer.code == 0, answer.err
    out = " ".join(answer.out.split())
    assert "finetune the new layer and 1 of 5 stages, which the probe recommends, for 3 epochs" in out
    assert "finetune 1-3 the new layer and 1 of 5 stages" in out
    assert answer.out.count("kept, candidate of phase finetune") == 5
    assert "probe solved" in out
    assert "finetune solved" not in out
    assert re.search(r"finetune trunk/decayed .* some of ", out)
