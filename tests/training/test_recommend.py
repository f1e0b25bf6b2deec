"""Surgical fine-tuning: the stage that one backward pass recommends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.interrupting import RUN, Command
from tlx.config import groups as g
from tlx.network.network import Network, build
from tlx.training.recommend import relative_gradient_norms


def network() -> Network:
    return build(
        g.TimmBackbone(name="test_resnet"), g.ScratchInit(), g.HeadCut(), g.SurgicalFreeze(), g.LinearHead(), 3, 0, 32
    )[0]


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(4, 3, 32, 32, generator=generator),
            "label": torch.randint(0, 3, (4,), generator=generator),
        }
        for _ in range(count)
    ]


def test_norms_are_the_formula_and_the_network_is_left_alone() -> None:
    net = network().eval()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    found = relative_gradient_norms(net, batches(3), images=8, device=torch.device("cpu"))
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    other = network().eval()
    other.trained = frozenset(n for n, _ in other.named_parameters())
    for parameter in other.parameters():
        parameter.requires_grad = True
    images, labels = (torch.cat([b[k] for b in batches(2)]) for k in ("image", "label"))  # two batches are 8 images
    F.cross_entropy(other(images), labels).backward()
    for stage, value in enumerate(found):
        mine = [p for n, p in other.named_parameters() if other.anatomy.stage.get(n) == stage]
        gradient = torch.cat([p.grad.flatten() for p in mine]).norm()
        assert value == pytest.approx(
            float(gradient / torch.cat([p.detach().flatten() for p in mine]).norm()), rel=1e-4
        )


def test_a_run_trains_the_recommended_stage_alone(tlx: Command, tmp_path: Path) -> None:
    answer = tlx(*RUN, "freeze=surgical", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    decision = result["decisions"]["surgical"]
    norms = decision["relative_gradient_norms"]
    assert decision["stages"] == [norms.index(max(norms))]
    assert "surgical" in answer.out
    name = ("act1", "layer1", "layer2", "layer3", "layer4")[decision["stages"][0]]
    assert f"the new layer and {name}" in answer.out
