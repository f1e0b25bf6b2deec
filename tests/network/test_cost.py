"""Costs: counted by a pass, against numbers worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch
from torch import nn

from tlx.config.groups import HeadCut, LayerCut, StageCut, TimmBackbone
from tlx.network.backbone import create
from tlx.network.cost import by_point, by_stage, multiply_adds, skeleton
from tlx.network.cut import Point, cut_at, stages


def test_multiply_adds_of_a_convolution_and_a_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 10))
    assert multiply_adds(net, 32) == 8 * 3 * 9 * 16 * 16 + 8 * 16 * 16 * 10


def test_attention_counts() -> None:
    """A CPU's fused attention is invisible to torch's counter: 21 % of this network would be missing."""
    model = timm.create_model("test_vit", pretrained=False, num_classes=0)
    width, tokens, blocks, patch = 64, 101, 6, 16
    expected = 3 * patch**2 * width * (tokens - 1)
    hidden = model.blocks[0].mlp.fc1.out_features
    expected += blocks * (tokens * width * (4 * width + 2 * hidden) + 2 * tokens**2 * width)
    assert multiply_adds(model, 160) == expected


def test_stages_grow_and_agree_with_cuts_of_their_own() -> None:
    for name in ("test_resnet", "test_vit", "test_mambaout"):
        whole = create(TimmBackbone(name=name), 64).model
        names = [n for n, _ in whole.named_parameters()]
        costs = by_stage(whole, 64)
        assert [cost.stage for cost in costs] == stages(whole)
        for shorter, longer in pairwise(costs):
            assert shorter.parameters < longer.parameters
            assert shorter.multiply_adds < longer.multiply_adds
        for cost in costs:
            trunk = cut_at(create(TimmBackbone(name=name), 64).model, StageCut(stage=cost.stage.index), 64)
            assert cost.shape == trunk.shape
            assert cost.parameters == sum(p.numel() for p in trunk.parameters())
            assert cost.multiply_adds == multiply_adds(trunk, 64)
        assert [n for n, _ in whole.named_parameters()] == names  # the model itself stays whole


def test_counting_leaves_the_mode_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    net[1].eval()
    before = net[1].running_mean.clone()
    multiply_adds(net, 8)
    assert net.training
    assert not net[1].training
    assert torch.equal(net[1].running_mean, before)


def test_points_cost_what_trunks_cut_there_cost() -> None:
    points = [Point("stage", "stages.0", 0), Point("layer", "stages.2.blocks.0"), Point("head", "head")]
    found = by_point(create(TimmBackbone(name="test_convnext"), 64).model, points, 64)
    for point, (parameters, operations) in zip(points, found, strict=True):
        cuts = {"stage": StageCut(stage=0), "layer": LayerCut(name=point.name), "head": HeadCut()}
        trunk = cut_at(create(TimmBackbone(name="test_convnext"), 64).model, cuts[point.kind], 64)
        assert parameters == sum(p.numel() for p in trunk.parameters())
        assert operations == multiply_adds(trunk, 64)
    assert found[0] < found[1] < found[2]


class Looking(nn.Module):
    """Looks at its numbers, or makes tensors of its own, on the CPU: what a skeleton cannot do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.how == "item":
            return x * float(x.mean())
        if self.how == "numpy":
            return x * torch.from_numpy(x.detach().numpy())
        return x + torch.ones(x.shape[-1])


@pytest.mark.parametrize("how", ["item", "numpy", "cpu"])
def test_networks_that_no_skeleton_can_run_are_counted_all_the_same(how: str) -> None:
    assert multiply_adds(Looking(how), 8) == 3 * 4 * 8 * 8


def test_a_skeleton_costs_nothing_and_shares_what_is_shared() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    net.append(net[0])
    bones = skeleton(net)
    assert all(t.is_meta for t in (*bones.parameters(), *bones.buffers()))
    assert bones[2] is bones[0]
    assert list(bones.state_dict()) == list(net.state_dict())
    assert not any(t.is_meta for t in (*net.parameters(), *net.buffers()))


def test_recurrent_layers_count() -> None:
    """A CPU's fused LSTM is invisible to torch's counter; a skeleton's is made of matrix products."""
    net = nn.Sequential(nn.Flatten(2), nn.LSTM(16, 5, batch_first=True))

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)[0]

    assert multiply_adds(First(), 4) == 3 * 4 * 5 * (16 + 5)
