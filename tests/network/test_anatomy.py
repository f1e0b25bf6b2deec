"""Anatomy: every trunk parameter has one stage and one layer, and they agree with what cuts keep."""

from __future__ import annotations

import copy

import pytest
import timm
import timm.optim
import torch
from torch import nn

from tlx.config.groups import EarlyCut, HeadCut, LayerCut, StageCut
from tlx.errors import InputError
from tlx.network.anatomy import TRUNK, Anatomy
from tlx.network.cut import cut_at, stages

NAMES = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_byobnet", "test_nfnet"]
SIZE = 64


def anatomy(name: str, cut: HeadCut | EarlyCut | StageCut | LayerCut | None = None) -> Anatomy:
    model = timm.create_model(name, **({"img_size": SIZE} if "vit" in name else {}))
    model.reset_classifier(0)
    return Anatomy(cut_at(model, cut or HeadCut(), SIZE), nn.Linear(2, 2))


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_holds_what_cutting_there_keeps_and_cutting_before_drops(name: str) -> None:
    whole = anatomy(name)
    model = whole._trunk.model
    for stage in stages(model):
        trunk = cut_at(copy.deepcopy(model), StageCut(stage=stage.index), SIZE)
        kept = {TRUNK + n for n, _ in trunk.model.named_parameters()}
        if stage.index < len(whole.stages) - 1:
            assert kept == {n for n in whole.trunk if whole.stage[n] <= stage.index}
            assert kept == whole.upto(stage.index) == whole.upto(stage.name)
        assert kept == set(Anatomy(trunk, nn.Linear(2, 2)).stage)
    assert set(whole.stage) == set(whole.trunk)
    assert whole.last(len(whole.stages)) == frozenset(whole.trunk)
    assert whole.last(0) == frozenset()


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_trunk_has_the_stages_that_are_left(name: str) -> None:
    whole, early = anatomy(name), anatomy(name, EarlyCut(keep=0.5))
    assert early.stages == whole.stages[: len(early.stages)]
    assert len(early.stages) < len(whole.stages)
    assert all(early.stage[n] == whole.stage[n] for n in early.trunk)


def test_what_is_a_stage_and_a_layer_is_listed_once() -> None:
    with pytest.raises(InputError, match=r"freeze\.stage=head does not exist; one of: ") as error:
        anatomy("test_resnet").upto("head")
    listed = error.value.mend.removeprefix("one of: ").split(", ")
    assert {"act1", "layer4", "layer4.0"} <= set(listed)
    assert len(listed) == len(set(listed))


def test_upto_a_layer_is_what_a_layer_cut_keeps() -> None:
    whole = anatomy("test_vit")
    kept = whole.upto("blocks.1")
    assert any(n.startswith(f"{TRUNK}blocks.1.") for n in kept)
    assert not any(n.startswith(f"{TRUNK}blocks.2.") for n in kept)
    assert f"{TRUNK}patch_embed.proj.weight" in kept


@pytest.mark.parametrize("end", [99, -1, "nowhere", "blocks.77"])
def test_upto_nowhere_lists_what_there_is(end: int | str) -> None:
    with pytest.raises(InputError, match=r"does not exist") as caught:
        anatomy("test_vit").upto(end)
    assert "blocks.1" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_depth_follows_timms_own_layer_decay(name: str) -> None:
    """timm's ``param_groups_layer_decay`` scales by d^(last - layer), the classifier being the last layer."""
    model = timm.create_model(name, num_classes=5)
    groups = timm.optim.param_groups_layer_decay(model, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    theirs = {TRUNK + n: scale[id(p)] for n, p in model.named_parameters()}
    headless = copy.deepcopy(model)
    headless.reset_classifier(0)
    found = Anatomy(cut_at(headless, HeadCut(), SIZE if "vit" not in name else 160), nn.Linear(2, 2)).depth
    ours = {n: 0.5 ** -float(depth) for n, depth in found.items()}
    ratio = {n: ours[n] / theirs[n] for n in ours}
    assert len({round(r, 9) for r in ratio.values()}) == 1  # the same multiples, up to one common factor


def test_norms_and_biases_are_found_by_what_they_are() -> None:
    vit = anatomy("test_vit")
    assert {n.removeprefix(TRUNK).split(".")[-2] for n in vit.norms} >= {"norm1", "norm2", "norm"}
    assert all(n.endswith("bias") for n in vit.biases)
    assert f"{TRUNK}cls_token" not in vit.norms | vit.biases
    resnet = anatomy("test_resnet")
    assert f"{TRUNK}layer1.0.bn1.weight" in resnet.norms
    assert not any("conv" in n and n.endswith("weight") and resnet._trunk.model.get_parameter(
        n.removeprefix(TRUNK)).ndim > 1 for n in resnet.norms)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_leaves_the_network_alone(name: str) -> None:
    whole = anatomy(name)
    before = {n: p.clone() for n, p in whole._trunk.model.state_dict().items()}
    _ = whole.stage, whole.depth, whole.norms, whole.upto(0)
    after = whole._trunk.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
