"""Depth: a share of the layers with weights, wherever stages are announced."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.network.families import OTHERS, QUICK, Member, shrunk
from tlx.config.groups import DepthCut, EarlyCut, TimmBackbone
from tlx.network.backbone import create
from tlx.network.cut import Point, cut_at, layers, resolve, stages
from tlx.network.depth import stage_depths


def whole(member: Member) -> nn.Module:
    return create(TimmBackbone(name=member.name, kwargs=member.kwargs), member.size).model.eval()


def weights(model: nn.Module) -> int:
    return sum(n.endswith("weight") and p.dim() > 1 for n, p in model.named_parameters())


def test_the_depth_of_resnet18_by_hand() -> None:
    """One convolution, then blocks of two; the first of layers 2 to 4 has a third, for its shortcut: 20 in all."""
    model = whole(shrunk("resnet18", 32))
    assert weights(model) == 20
    assert stage_depths(model, 32) == [1, 5, 10, 15, 20]
    for keep, kind, name, count in [
        (0.04, "stage", "act1", 1),  # less than one layer: the first, all the same
        (0.05, "stage", "act1", 1),
        (0.149, "stage", "act1", 1),
        (0.15, "layer", "layer1.0", 3),
        (0.25, "stage", "layer1", 5),
        (0.4, "layer", "layer2.0", 8),
        (0.5, "stage", "layer2", 10),
        (0.999, "layer", "layer4.0", 18),
        (1.0, "stage", "layer4", 20),
    ]:
        point = resolve(model, DepthCut(keep=keep), 32)
        assert (point.kind, point.name) == (kind, name)
        assert weights(cut_at(copy.deepcopy(model), DepthCut(keep=keep), 32)) == count


def test_the_depth_of_a_transformer_counts_its_blocks() -> None:
    model = whole(shrunk("vit_tiny_patch16_224", depth=4))  # four weights a block, one for the patches
    found = {keep: resolve(model, DepthCut(keep=keep), 64).name for keep in (0.1, 0.3, 0.5, 0.53, 0.7, 0.8, 1.0)}
    assert found == {
        0.1: "pos_drop", 0.3: "blocks.0", 0.5: "blocks.0", 0.53: "blocks.1", 0.7: "blocks.1", 0.8: "blocks.2",
        1.0: "blocks.3",
    }  # fmt: skip


def test_hidden_layers_of_the_classifier_belong_to_the_depth() -> None:
    """MobileNetV3 has a convolution behind its pooling: behind the last stage lies a share more of the depth."""
    model = whole(QUICK["mobilenetv3"])
    assert stage_depths(model, 64)[-1] < weights(model)
    assert resolve(model, DepthCut(keep=1.0), 64) == Point("stage", "blocks.5", 4)


@settings(max_examples=12, deadline=None)
@given(keep=st.floats(1e-6, 1.0), family=st.sampled_from(["convnext", "vision_transformer", "mambaout", "coat"]))
def test_at_most_the_share_is_kept_and_more_is_never_less(keep: float, family: str) -> None:
    model = MODELS.setdefault(family, whole(QUICK[family]))
    total, size = weights(model), QUICK[family].size
    trunk = cut_at(copy.deepcopy(model), DepthCut(keep=keep), size)
    first = weights(cut_at(copy.deepcopy(model), DepthCut(keep=1e-6), size))
    assert weights(trunk) <= max(keep * total + 1e-6, first)
    assert weights(cut_at(copy.deepcopy(model), DepthCut(keep=min(1.0, keep * 1.5)), size)) >= weights(trunk)


MODELS: dict[str, Any] = {}


@pytest.mark.parametrize("family", ["eva", "cait", "swin_transformer", "regnet", "hiera", "naflexvit", "xcit"])
def test_a_depth_resolves_to_a_stage_or_an_offered_layer(family: str) -> None:
    member = QUICK[family]
    model = whole(member)
    offered = layers(model, member.size)
    costs = []
    for keep in (0.2, 0.45, 0.7):
        trunk = cut_at(copy.deepcopy(model), DepthCut(keep=keep), member.size)
        assert trunk.point.name in [s.name for s in stages(model)] + offered
        costs.append(sum(p.numel() for p in trunk.parameters()))
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_branches_are_kept_by_their_depth_not_by_their_order() -> None:
    """CrossViT announces a branch's three blocks, then the other's: half the stages are not a whole branch."""
    member = OTHERS["crossvit"]
    model = whole(member)
    assert [s.name for s in stages(model)] == ["blocks.0", "blocks.1", "blocks.2"] * 2
    half = resolve(model, EarlyCut(keep=0.5), member.size)
    assert half.name == "blocks.1"
    assert resolve(model, EarlyCut(keep=0.3), member.size).name == "blocks.0"


def test_weights_that_are_not_called_weight_count() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.feature_info = [{"module": "stem", "num_chs": 4, "reduction": 1}]
            self.stem = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1, bias=False), dim=None)

        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return self.stem(x)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.forward_features(x)

    assert resolve(Bare(), DepthCut(keep=0.1), 8) == Point("layer", "stem")
