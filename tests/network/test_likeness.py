"""Likeness: names of networks as they are built today are told apart, and a prefix before all of them is seen."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchvision.models import get_model

from tlx.network.likeness import FAMILIES, alike, prefixed, some

VIT, SWIN, CONVNEXT, RESNET = "a vision transformer", "a Swin transformer", "a ConvNeXt", "a ResNet"
MOBILE, VGG, DENSE, REGNET = "an EfficientNet or a MobileNet", "a VGG or an AlexNet", "a DenseNet", "a RegNet"
SQUEEZE, FOREIGN = "a SqueezeNet", "a vision transformer of the transformers library"
NAMES = [
    "conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias",
    "layer1.1.conv1.weight", "fc.weight", "fc.bias",
]  # fmt: skip


def names_of(library: str, name: str) -> list[str]:
    with torch.device("meta"):  # names alone, no numbers
        return list((timm.create_model(name) if library == "timm" else get_model(name)).state_dict())


@pytest.mark.parametrize(
    ("library", "name", "family"),
    [
        ("timm", "resnet18", RESNET),
        ("timm", "seresnet50", RESNET),
        ("timm", "vit_tiny_patch16_224", VIT),
        ("timm", "beit_base_patch16_224", VIT),  # with a table of relative positions, as Swin has
        ("timm", "swin_tiny_patch4_window7_224", SWIN),
        ("timm", "swinv2_tiny_window8_256", SWIN),
        ("timm", "convnext_atto", CONVNEXT),
        ("timm", "convnextv2_atto", CONVNEXT),
        ("timm", "mobilenetv3_small_050", MOBILE),
        ("timm", "efficientnet_b0", MOBILE),
        ("timm", "regnetx_002", REGNET),
        ("timm", "vgg11", VGG),
        ("torchvision", "resnet18", RESNET),
        ("torchvision", "vit_b_16", VIT),
        ("torchvision", "swin_t", SWIN),
        ("torchvision", "swin_v2_t", SWIN),
        ("torchvision", "convnext_tiny", CONVNEXT),  # its blocks are called as EfficientNet's
        ("torchvision", "efficientnet_b0", MOBILE),
        ("torchvision", "densenet121", DENSE),
        ("torchvision", "alexnet", VGG),
        ("torchvision", "vgg11_bn", VGG),
        ("torchvision", "squeezenet1_0", SQUEEZE),  # it begins as AlexNet does
    ],
)
def test_networks_are_known_by_their_names_and_behind_a_prefix(library: str, name: str, family: str) -> None:
    names = names_of(library, name)
    assert alike(names) == f"it looks like {family} ({some(names)})"
    assert alike([f"model.{name}" for name in names]).startswith(f"it looks like {family} (model.")
    # The negative control: with every name spelt in another way, there is nothing to know it by.
    other = [name.replace(".", "_") for name in names]
    assert alike(other) == f"it begins with {some(other)}"


@pytest.mark.parametrize("name", ["maxvit_tiny_tf_224", "coatnet_0_224", "gcvit_xxtiny"])
def test_a_table_of_relative_positions_alone_makes_no_swin(name: str) -> None:
    names = names_of("timm", name)
    assert any("relative_position_bias_table" in name for name in names)
    assert SWIN not in alike(names)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("vit.encoder.layer.0.attention.attention.query.weight", FOREIGN),
        ("vision_model.encoder.layers.0.self_attn.k_proj.weight", FOREIGN),
        ("swin.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table", SWIN),
        ("trunk_output.block1.block1-0.proj.0.weight", REGNET),
    ],
)
def test_names_of_libraries_that_are_not_here(name: str, family: str) -> None:
    assert alike(["x.weight", name]) == f"it looks like {family} (x.weight, {name})"
    assert alike(["x.weight"]) == "it begins with x.weight"


def test_every_family_has_been_met() -> None:
    met = {VIT, SWIN, CONVNEXT, RESNET, MOBILE, VGG, DENSE, REGNET, SQUEEZE, FOREIGN}
    assert {words for _, words in FAMILIES} == met


@given(st.from_regex(r"([a-z_]{1,6}\.){1,3}", fullmatch=True), st.sets(st.sampled_from(NAMES)))
def test_a_prefix_is_told_where_without_it_more_than_half_would_fit(before: str, there: set[str]) -> None:
    found = [before + name for name in NAMES if name in there]
    said = prefixed(NAMES, found)
    assert (repr(before) in said) == (2 * len(there) > len(NAMES))
    assert not said or prefixed(NAMES, [name.removeprefix(before) for name in found]) == ""


@given(st.lists(st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,2}", fullmatch=True), unique=True, max_size=8))
def test_names_of_other_networks_have_no_such_prefix(found: list[str]) -> None:
    assume(not any(name.endswith(f".{mine}") for name in found for mine in NAMES))
    assert prefixed(NAMES, found) == ""
    assert prefixed([], found) == ""


def test_the_prefix_that_most_names_have_is_told() -> None:
    """A student and its teacher in one file; the teacher is whole."""
    teacher, student = [f"teacher.{name}" for name in NAMES], [f"student.{name}" for name in NAMES[:-1]]
    assert "'teacher.'" in prefixed(NAMES, [*student, *teacher])
    assert "'teacher.'" in prefixed(NAMES, [*teacher, *student])
    assert "'student.'" in prefixed(NAMES, student)


@given(st.lists(st.text(st.characters(categories=["Ll"]), min_size=1), max_size=10))
def test_the_first_four_are_named_and_the_others_counted(names: list[str]) -> None:
    told, _, more = some(iter(names)).partition(" and ")
    assert told == ", ".join(names[:4])
    assert more == (f"{len(names) - 4} more" if len(names) > 4 else "")
