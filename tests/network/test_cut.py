"""Cuts: at every place of many families, what remains is what was announced, and nothing lies behind it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.network.families import OTHERS, QUICK, Member, shrunk
from tlx.config.groups import DepthCut, EarlyCut, HeadCut, LayerCut, LinearHead, StageCut, TimmBackbone
from tlx.errors import InputError
from tlx.network.backbone import create
from tlx.network.cost import multiply_adds
from tlx.network.cut import Cut, Point, Reader, Trunk, cut_at, layers, probe, resolve, stages
from tlx.network.head import Head
from tlx.network.layers import shorten

# Families that differ in how they announce stages, nest modules, lay out features and place tokens.
FAMILIES = (
    "test_byobnet",
    "test_coatnet",
    "test_convnext",
    "test_efficientnet",
    "test_efficientnet_ln",
    "test_mambaout",
    "test_maxvit",
    "test_nfnet",
    "test_resnet",
    "test_vit",
    "test_vit3",
    "test_vit_relpos",
)
SIZE = 64


@pytest.fixture(scope="module", params=FAMILIES)
def whole(request: pytest.FixtureRequest) -> nn.Module:
    """Return a whole network; tests cut copies of it."""
    torch.manual_seed(0)
    return create(TimmBackbone(name=request.param), SIZE).model.eval()


def behind(model: nn.Module, stage: int) -> list[str]:
    """Name the parameters of the stages behind one."""
    later = [s.name for s in stages(model)[stage + 1 :]]
    return [n for n, _ in model.named_parameters() if n.startswith(tuple(f"{name}." for name in later))]


def test_every_stage_cut_is_what_was_announced(whole: nn.Module) -> None:
    known = stages(whole)
    costs = []
    for stage in known:
        trunk = cut_at(copy.deepcopy(whole), StageCut(stage=stage.index), SIZE)
        features = trunk(torch.randn(2, 3, SIZE, SIZE))
        side = SIZE // stage.reduction
        assert tuple(features.shape) == (2, stage.channels, side, side)
        assert trunk.shape == (stage.channels, side, side)
        assert (trunk.layout, trunk.width) == ("NCHW", stage.channels)
        left = {n for n, _ in trunk.model.named_parameters()}
        assert left <= {n for n, _ in whole.named_parameters()}  # names stay: weights files fit
        assert not left & set(behind(whole, stage.index))
        costs.append(multiply_adds(trunk, SIZE))
    assert behind(whole, 0)  # the check above had something to find
    assert costs == sorted(set(costs))
    assert costs[-1] <= multiply_adds(whole, SIZE)


def test_every_stage_cut_returns_what_the_whole_network_holds_there(whole: nn.Module) -> None:
    image = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        maps = whole.forward_intermediates(image, intermediates_only=True)  # type: ignore[operator]
        for stage in stages(whole):
            trunk = cut_at(copy.deepcopy(whole), StageCut(stage=stage.name), SIZE)
            assert torch.equal(trunk(image), maps[stage.index])


def test_gradient_flows_through_every_kept_stage(whole: nn.Module) -> None:
    last = stages(whole)[-2]
    trunk = cut_at(copy.deepcopy(whole), StageCut(stage=last.index), SIZE).train()
    head = Head(LinearHead(), trunk.layout, trunk.prefix, trunk.width, 3, seed=0)
    nn.functional.cross_entropy(head(trunk(torch.randn(2, 3, SIZE, SIZE))), torch.tensor([0, 2])).backward()
    dead = [n for n, p in trunk.named_parameters() if p.grad is None]
    assert not dead, dead
    for stage in stages(whole)[: last.index + 1]:
        grads = [
            p.grad for n, p in trunk.model.named_parameters() if n.startswith(f"{stage.name}.") and p.grad is not None
        ]
        assert not grads or any(float(g.abs().max()) > 0 for g in grads)
    assert any(float(p.grad.abs().max()) > 0 for p in list(trunk.parameters())[:4] if p.grad is not None)


def hooked(model: nn.Module, name: str) -> torch.Tensor:
    """Return what a module returned inside the whole network: for the first time, before anyone writes over it."""
    outputs: list[torch.Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(lambda m, i, output: outputs.append(output.clone()))
    probe(Reader(model), SIZE)
    hook.remove()
    return outputs[0]


def test_every_layer_cut_that_is_offered_works(whole: nn.Module) -> None:
    offered = layers(whole, SIZE)
    assert len(offered) == len(set(offered)) >= 9
    for name in offered:
        trunk = cut_at(copy.deepcopy(whole), LayerCut(name=name), SIZE)
        expected = hooked(copy.deepcopy(whole), name)
        assert torch.equal(probe(trunk, SIZE), expected)
        width = {"NLC": 2, "NHWC": 3, "NCHW": 1}[trunk.layout]
        assert trunk.width == expected.shape[width]
        assert {n for n, _ in trunk.model.named_parameters()} <= {n for n, _ in whole.named_parameters()}
        without = torch.autograd.grad(probe(trunk, SIZE, graph=True).sum(), list(trunk.parameters()), allow_unused=True)
        assert all(gradient is not None for gradient in without)


def test_layer_cuts_drop_what_runs_behind_them(whole: nn.Module) -> None:
    offered = layers(whole, SIZE)
    sizes, costs = [], []
    for name in offered:
        trunk = cut_at(copy.deepcopy(whole), LayerCut(name=name), SIZE)
        inside = dict(trunk.model.named_parameters())
        assert all(n in inside for n, _ in whole.named_parameters() if n.startswith(f"{name}."))
        assert not any(n.startswith("head") for n in inside)
        sizes.append(len(inside))
        costs.append(multiply_adds(trunk, SIZE))
    top = [(s, c) for n, s, c in zip(offered, sizes, costs, strict=True) if "." not in n]
    assert sorted(top) == top  # from the input on, nothing falls
    assert sizes[0] < sizes[-1]
    assert costs[0] < costs[-1]


def test_activations_in_place_do_not_spoil_the_proof() -> None:
    """A ReLU that writes over the norm before it: the norm's own output is what the cut must return."""
    whole = create(TimmBackbone(name="test_resnet"), SIZE).model.eval()
    assert whole.act1.inplace
    trunk = cut_at(copy.deepcopy(whole), LayerCut(name="bn1"), SIZE)
    assert float(probe(trunk, SIZE).min()) < 0


class Beside(nn.Module):
    """Two convolutions side by side, then a third."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = [{"module": "a", "num_chs": 4, "reduction": 1}]
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.a(x) + self.b(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_features(x)


def test_a_module_beside_the_main_path_is_told() -> None:
    assert layers(Beside(), 8) == ["c"]
    assert cut_at(Beside(), LayerCut(name="c"), 8).shape == (4, 8, 8)
    for name in ("a", "b"):
        with pytest.raises(InputError, match=f"cut.name={name} is not on the network's main path; one of: c"):
            cut_at(Beside(), LayerCut(name=name), 8)


def test_a_network_that_cannot_be_shortened_is_ended_instead() -> None:
    """Between its modules EVA hands rotary positions to each block: with blocks left out, its loop still does."""
    whole = create(TimmBackbone(name="vit_tiny_patch16_dinov3_qkvb", kwargs={"depth": 3}), SIZE).model.eval()
    assert not shorten(copy.deepcopy(whole), "blocks.1", SIZE)
    trunk = cut_at(copy.deepcopy(whole), LayerCut(name="blocks.1"), SIZE)
    assert torch.equal(probe(trunk, SIZE), hooked(whole, "blocks.1"))
    assert not any(n.startswith(("model.blocks.2.", "model.norm.")) for n, _ in trunk.named_parameters())
    assert multiply_adds(trunk, SIZE) < 0.7 * multiply_adds(whole, SIZE)
    copied = copy.deepcopy(trunk)
    assert torch.equal(probe(copied, SIZE), probe(trunk, SIZE))


def test_shortening_that_fails_leaves_the_model_as_it_was() -> None:
    whole = create(TimmBackbone(name="vit_tiny_patch16_dinov3_qkvb", kwargs={"depth": 3}), SIZE).model.eval()
    before = [(path, type(module)) for path, module in whole.named_modules()]
    features = probe(whole, SIZE)
    assert not shorten(whole, "blocks.0", SIZE)
    assert [(path, type(module)) for path, module in whole.named_modules()] == before
    assert torch.equal(probe(whole, SIZE), features)


@pytest.mark.parametrize(
    "cut",
    [HeadCut(), EarlyCut(), StageCut(stage=5), LayerCut(name="blocks.5"), DepthCut(keep=0.5)],
    ids=lambda cut: cut.kind,
)
def test_a_cut_takes_few_passes_however_many_stages_there_are(cut: Cut) -> None:
    whole = create(TimmBackbone(name="vit_tiny_patch16_224"), SIZE).model
    passes: list[int] = []
    whole.patch_embed.register_forward_pre_hook(lambda *_: passes.append(1))
    cut_at(whole, cut, SIZE)
    assert len(stages(whole)) == 12
    assert 2 <= len(passes) <= 7


# Plain transformers and sequential trunks, cut at a block: the path, what is left behind it, the layout, the prefix.
BLOCKS = [
    (shrunk("vit_tiny_patch16_224", depth=3), "blocks.1", "blocks.2", "NLC", 1),
    (shrunk("vit_small_patch14_reg4_dinov2", 70, embed_dim=48, depth=3, num_heads=3), "blocks.1", "blocks.2", "NLC", 5),
    (QUICK["deit"], "blocks.1", "blocks.2", "NLC", 2),
    (QUICK["eva"], "blocks.1", "blocks.2", "NLC", 5),
    (QUICK["beit"], "blocks.1", "blocks.2", "NLC", 1),
    (QUICK["cait"], "blocks.1", "blocks.2", "NLC", 0),
    (QUICK["xcit"], "blocks.1", "blocks.2", "NLC", 0),
    (shrunk("mixer_s32_224"), "blocks.2", "blocks.3", "NLC", 0),
    (OTHERS["convmixer"], "blocks.6", "blocks.7", "NCHW", 0),
    (shrunk("mobilenetv1_100", 32), "blocks.2.1", "blocks.3", "NCHW", 0),
    (QUICK["efficientnet"], "blocks.2.0", "blocks.3", "NCHW", 0),
    (QUICK["resnet"], "layer2.0", "layer3", "NCHW", 0),
    (shrunk("vgg11", 32), "features.8", "features.11", "NCHW", 0),
    (shrunk("densenet121", 32), "features.denseblock1", "features.denseblock2", "NCHW", 0),
    (QUICK["convnext"], "stages.1.blocks.0", "stages.2", "NCHW", 0),
    (QUICK["swin_transformer"], "layers.1.blocks.1", "layers.2", "NHWC", 0),
]


@pytest.mark.parametrize(("member", "name", "behind", "layout", "prefix"), BLOCKS, ids=[b[0].name for b in BLOCKS])
def test_a_cut_at_a_block(member: Member, name: str, behind: str, layout: str, prefix: int) -> None:
    whole = create(TimmBackbone(name=member.name, kwargs=member.kwargs), member.size).model.eval()
    assert any(n.startswith(behind) for n, _ in whole.named_parameters())
    expected: list[torch.Tensor] = []
    hook = whole.get_submodule(name).register_forward_hook(lambda m, i, output: expected.append(output.clone()))
    cost = multiply_adds(whole, member.size)
    probe(Reader(whole), member.size)
    hook.remove()
    trunk = cut_at(whole, LayerCut(name=name), member.size)
    assert torch.equal(probe(trunk, member.size), expected[-1])
    assert (trunk.layout, trunk.prefix) == (layout, prefix)
    assert not any(n.startswith(f"model.{behind}.") for n, _ in trunk.named_parameters())
    assert multiply_adds(trunk, member.size) < cost
    head = Head(LinearHead(), trunk.layout, trunk.prefix, trunk.width, 3, seed=0)
    images = torch.randn(2, 3, member.size, member.size)
    nn.functional.cross_entropy(head(trunk.train()(images)), torch.tensor([0, 2])).backward()
    dead = [n for n, p in trunk.named_parameters() if p.grad is None]
    assert not dead or all(n.endswith("cls_token") for n in dead)


def test_paths_inside_a_residual_block_are_not_offered() -> None:
    """Transformers announce blocks as stages; a place inside a block is none to cut at."""
    vit = layers(create(TimmBackbone(name="test_vit"), SIZE).model, SIZE)
    assert "blocks.3" in vit
    assert not any(name.startswith("blocks.3.") for name in vit)
    resnet = layers(create(TimmBackbone(name="test_resnet"), SIZE).model, SIZE)
    assert "layer2.0" in resnet
    assert not any(name.startswith("layer2.0.") for name in resnet)
    nested = layers(create(TimmBackbone(name="test_convnext"), SIZE).model, SIZE)
    assert "stages.1.blocks.0" in nested


@pytest.mark.parametrize("name", ["regnety_002"])
def test_blocks_of_stages_that_are_no_containers_are_offered(name: str) -> None:
    model = create(TimmBackbone(name=name), SIZE).model
    assert {"s1.b1", "s2", "s3.b2"} <= set(layers(model, SIZE))
    assert cut_at(model, LayerCut(name="s2"), SIZE).layout == "NCHW"


@pytest.mark.parametrize(
    ("name", "layout", "prefix"),
    [("test_vit", "NLC", 1), ("test_vit_relpos", "NLC", 0), ("test_mambaout", "NHWC", 0), ("test_convnext", "NCHW", 0)],
)
def test_layouts_of_layers_are_told(name: str, layout: str, prefix: int) -> None:
    model = create(TimmBackbone(name=name), SIZE).model
    last = layers(model, SIZE)[-1]
    trunk = cut_at(model, LayerCut(name=last), SIZE)
    assert (trunk.layout, trunk.prefix if layout == "NLC" else 0) == (layout, prefix)
    assert trunk.width == stages(model)[-1].channels


def test_a_head_cut_without_pooling_keeps_the_architectures_layout() -> None:
    model = create(TimmBackbone(name="test_mambaout", kwargs={"global_pool": ""}), 96).model
    trunk = cut_at(model, HeadCut(), 96)
    if len(trunk.shape) == 3:
        assert (trunk.layout, trunk.width) == ("NHWC", model.head_hidden_size)  # type: ignore[attr-defined]


@given(st.integers(1, 12), st.integers(1, 100))
def test_early_keeps_the_share_rounded_up(count: int, percent: int) -> None:
    model = nn.Identity()
    model.feature_info = [{"module": f"s{i}", "num_chs": 1, "reduction": 1} for i in range(count)]  # type: ignore[assignment]
    point = resolve(model, EarlyCut(keep=percent / 100), SIZE)
    assert point == Point("stage", f"s{point.stage}", -(-count * percent // 100) - 1)


def test_early_is_not_fooled_by_floating_point() -> None:
    model = nn.Identity()
    model.feature_info = [{"module": str(i), "num_chs": 1, "reduction": 1} for i in range(25)]  # type: ignore[assignment]
    assert math.ceil(0.28 * 25) == 8
    assert resolve(model, EarlyCut(keep=0.28), SIZE).stage == 6
    assert resolve(model, EarlyCut(keep=1e-12), SIZE).stage == 0


def test_a_cut_that_does_not_exist_is_answered_with_the_valid_ones() -> None:
    model = create(TimmBackbone(name="test_resnet"), SIZE).model
    for stage in (5, -1, "layer9", "2"):
        with pytest.raises(InputError, match=rf"cut.stage={stage} does not exist; one of: 0 \(act1\), 1 \(layer1\), 2"):
            cut_at(model, StageCut(stage=stage), SIZE)
    with pytest.raises(InputError, match=r"cut.name=layer2.3 does not exist; did you mean .*'layer2.0'.*one of: conv1"):
        cut_at(model, LayerCut(name="layer2.3"), SIZE)
    for name in ("", ".", "layer2.0.conv9"):
        with pytest.raises(InputError, match="does not exist"):
            cut_at(model, LayerCut(name=name), SIZE)
    with pytest.raises(InputError, match=r"cut\.name=fc holds the classifier"):
        cut_at(model, LayerCut(name="fc"), SIZE)
    for name in ("layer2.0.conv1", "layer2.0.conv2"):
        with pytest.raises(InputError, match=f"cut.name={name} is not on the network's main path; .*one of: conv1"):
            cut_at(model, LayerCut(name=name), SIZE)
    assert len(list(model.children())) == len(list(create(TimmBackbone(name="test_resnet")).model.children()))


def test_a_name_that_several_stages_share_is_told() -> None:
    """CoaT announces its parallel blocks three times, once a scale."""
    member = QUICK["coat"]
    model = create(TimmBackbone(name=member.name, kwargs=member.kwargs), member.size).model
    with pytest.raises(InputError, match=r"cut.stage=parallel_blocks means several stages; give its index: 0 \(serial"):
        cut_at(model, StageCut(stage="parallel_blocks"), member.size)
    assert cut_at(model, StageCut(stage=2), member.size).point == Point("stage", "parallel_blocks", 2)


def test_networks_of_several_branches_are_cut_before_they_part_or_at_a_stage() -> None:
    """CoaT's scales part behind its second stage; CrossViT's branches at the image."""
    member = QUICK["coat"]
    model = create(TimmBackbone(name=member.name, kwargs=member.kwargs), member.size).model
    assert layers(model, member.size)[-1] == "serial_blocks2.1"
    with pytest.raises(InputError, match=r"cut\.name=norm2 is not on the network's main path; one of: patch_embed1"):
        cut_at(model, LayerCut(name="norm2"), member.size)
    assert cut_at(model, LayerCut(name="serial_blocks1.1"), member.size).layout == "NLC"
    member = OTHERS["crossvit"]
    model = create(TimmBackbone(name=member.name), member.size).model
    with pytest.raises(InputError, match="this backbone has none; choose a stage"):
        cut_at(model, LayerCut(name="norm.0"), member.size)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_mambaout", "test_coatnet"])
@pytest.mark.parametrize("size", [1, 2, 7, 33])
def test_an_image_size_works_or_is_told(name: str, size: int) -> None:
    try:
        model = create(TimmBackbone(name=name), size).model
        assert cut_at(model, HeadCut(), size).width == model.head_hidden_size
    except InputError as error:
        assert f"{size} pixels" in str(error) or "timm cannot build" in str(error)  # noqa: PT017


def test_a_head_cut_keeps_everything_but_the_classifier(whole: nn.Module) -> None:
    trunk = cut_at(copy.deepcopy(whole), HeadCut(), SIZE)
    assert (trunk.layout, trunk.shape) == ("vector", (trunk.width,))
    assert isinstance(trunk, Trunk)
    assert {n for n, _ in trunk.model.named_parameters()} == {n for n, _ in whole.named_parameters()}
