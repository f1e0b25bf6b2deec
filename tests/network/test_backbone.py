"""Backbones: what timm offers by name, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import timm.data
import torch

from tlx.config.groups import HeadCut, LinearHead, NoFreeze, ScratchInit, TimmBackbone
from tlx.errors import InputError
from tlx.network import network as networks
from tlx.network.backbone import create, fitting


def test_an_unknown_name_is_answered_with_the_three_nearest() -> None:
    with pytest.raises(InputError, match="unknown backbone 'resnet81'") as caught:
        create(TimmBackbone(name="resnet81"))
    near = caught.value.mend.partition(": ")[2].split(", ")
    assert len(near) == 3
    assert all(timm.is_model(name) and name.startswith("resnet") for name in near)


def test_a_name_like_nothing_still_gets_three_words() -> None:
    with pytest.raises(InputError) as caught:
        create(TimmBackbone(name="§§§"))
    assert len(caught.value.mend.partition(": ")[2].split(", ")) == 3


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "local-dir:/tmp/x", "hf_hub:a/b"])
def test_names_that_would_load_from_elsewhere_are_unknown(name: str) -> None:
    with pytest.raises(InputError, match="unknown backbone"):
        create(TimmBackbone(name=name))


def test_an_unknown_tag_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown weights 'test_resnet.nothing'; one of: test_resnet\.r160_in1k"):
        create(TimmBackbone(name="test_resnet.nothing"))
    create(TimmBackbone(name="test_resnet.r160_in1k"), 32)  # the known one builds


@pytest.mark.parametrize(
    "key",
    [
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path"),
        *("cache_dir", "scriptable", "exportable", "features_only"),
    ],
)
def test_arguments_that_would_load_weights_or_change_the_kind_of_model_are_refused(key: str) -> None:
    with pytest.raises(InputError, match=f"backbone.kwargs.{key} is not allowed"):
        create(TimmBackbone(name="test_resnet", kwargs={key: True}))


@pytest.mark.parametrize("kwargs", [{"no_such_argument": 1}, {"layers": "many"}, {1: 2}])
def test_arguments_that_the_architecture_does_not_take_are_told(kwargs: dict[Any, Any]) -> None:
    with pytest.raises(InputError, match="timm cannot build test_resnet with"):
        create(TimmBackbone(name="test_resnet", kwargs=kwargs))


def test_arguments_that_are_no_mapping_are_told() -> None:
    with pytest.raises(InputError, match="is no mapping"):
        create(TimmBackbone(name="test_resnet", kwargs="abc"))


def test_arguments_reach_the_architecture() -> None:
    narrow = create(TimmBackbone(name="test_resnet", kwargs={"channels": [8, 8, 16, 16]}))
    assert narrow.parameters < create(TimmBackbone(name="test_resnet")).parameters
    assert narrow.model.num_features == 16


@pytest.mark.parametrize("name", ["test_vit", "test_maxvit"])
def test_a_fixed_size_model_is_built_for_another_size(name: str) -> None:
    assert timm.get_pretrained_cfg(name).fixed_input_size
    backbone = create(TimmBackbone(name=name), 96)
    assert backbone.preprocessing.image_size == 96
    with torch.no_grad():
        assert backbone.model.eval()(torch.zeros(2, 3, 96, 96)).shape == (2, backbone.model.num_features)


def test_the_classifier_is_gone_but_counted() -> None:
    backbone = create(TimmBackbone(name="test_resnet"))
    whole = timm.create_model("test_resnet", pretrained=False)
    assert backbone.parameters == sum(p.numel() for p in whole.parameters())
    left = sum(p.numel() for p in backbone.model.parameters())
    assert left == backbone.parameters - sum(p.numel() for p in whole.get_classifier().parameters())


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_mambaout"])
def test_images_are_prepared_as_the_weights_want_them(name: str) -> None:
    seen = create(TimmBackbone(name=name)).preprocessing
    own = timm.data.resolve_model_data_config(timm.create_model(name, pretrained=False))
    assert (seen.image_size, seen.mean, seen.std) == (own["input_size"][-1], tuple(own["mean"]), tuple(own["std"]))
    assert (seen.interpolation, seen.crop) == (own["interpolation"], own["crop_pct"])


def test_every_preparation_can_be_overridden_and_the_data_has_the_last_word_on_size() -> None:
    config = TimmBackbone(
        name="test_resnet", mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 3.0], image_size=64, interpolation="bilinear", crop=0.5
    )
    seen = create(config).preprocessing
    assert (seen.mean, seen.std) == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert (seen.image_size, seen.interpolation, seen.crop) == (64, "bilinear", 0.5)
    assert create(config, 40).preprocessing.image_size == 40


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"mean": [0.5]}, "do not normalise three channels"),
        ({"std": [0.5, 0.5]}, "do not normalise three channels"),
        ({"std": [0.5, 0.0, 0.5]}, "do not normalise three channels"),
        ({"interpolation": "bicubbic"}, "did you mean 'bicubic'"),
        ({"interpolation": "random"}, "is not an option"),
    ],
)
def test_a_preparation_that_cannot_work_is_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        create(TimmBackbone(name="test_resnet", **wrong))


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("test_vit", 7, 16),  # multiples of the patch
        ("test_vit", 100, 96),
        ("convnext_atto", 3, 32),  # of the total stride
        ("nest_tiny", 100, 96),  # one that timm does not even build
        ("halonet_h1", 200, 256),  # of the stride and a window
        ("efficientformer_l1", 96, 224),  # its own, which is the only one
    ],
)
def test_a_size_that_works_is_named_for_one_that_does_not(name: str, wrong: int, right: int) -> None:
    backbone = TimmBackbone(name=name)

    def build(size: int) -> None:
        networks.build(backbone, ScratchInit(), HeadCut(), NoFreeze(), LinearHead(), 3, 0, size)

    with pytest.raises(InputError, match=f"; data.image_size={right} works") as caught:
        build(wrong)
    assert caught.value.mend == fitting(backbone, wrong)
    build(right)


def test_a_backbone_that_looks_at_its_numbers_is_told_its_own_size() -> None:
    """On a skeleton nothing can be tried; what is left is what the backbone says of itself."""

    def look(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.sum())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm.models.resnet.ResNet, "forward", look)
        assert fitting(TimmBackbone(name="test_resnet"), 2) == "leave data.image_size=null for its own size, 160"


def test_a_name_that_timm_has_given_up_is_answered_with_the_new_one() -> None:
    with pytest.raises(
        InputError, match=r"no longer has .*'adv_inception_v3'; choose backbone\.name=inception_v3\.tf_adv_in1k"
    ):
        create(TimmBackbone(name="adv_inception_v3"))
