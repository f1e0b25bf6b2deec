"""Depths: one pass reads what a trunk cut at each place would, as far as the weights reach."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.network.families import OTHERS, QUICK, Member
from tlx.config.groups import (
    AllCut,
    HeadCut,
    LayerCut,
    LinearHead,
    NoFreeze,
    PretrainedInit,
    ScratchInit,
    StageCut,
    TimmBackbone,
    TrunkFreeze,
)
from tlx.errors import InputError
from tlx.network import model_folder
from tlx.network import network as networks
from tlx.network.backbone import create
from tlx.network.cost import multiply_adds
from tlx.network.cut import Point, cut_at, layers, probe, stages
from tlx.network.depths import read_at
from tlx.network.pool import Pool, cut_for
from tlx.network.reach import cut_all, open_depths, reach, reached
from tlx.storage import write_tensors

SIZE = 64
FAMILIES = [
    "test_resnet",
    "test_vit",
    "test_convnext",
    "test_efficientnet",
    "test_byobnet",
    "test_mambaout",
    "test_nfnet",
]


def whole(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(TimmBackbone(name=name), SIZE).model.eval()


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def alone(name: str, point: Point) -> torch.Tensor:
    """Pool what a trunk that is cut at one point computes."""
    cuts: dict[str, Any] = {"head": HeadCut(), "stage": StageCut(stage=point.name), "layer": LayerCut(name=point.name)}
    trunk, kind = cut_for("auto", whole(name), cuts[point.kind], SIZE)
    with torch.no_grad():
        return Pool(trunk.layout, trunk.prefix, kind)(trunk.eval()(images()))


def every_depth_is_what_a_trunk_cut_there_computes(member: Member) -> None:
    """Compare, of one member of a family, what one pass reads with trunks of their own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create(TimmBackbone(name=member.name, kwargs=member.kwargs), member.size).model.eval()
    pictures = torch.randn(2, 3, member.size, member.size, generator=torch.Generator().manual_seed(1))
    points = reach(model, member.size)
    assert sorted(p.stage for p in points[:-1] if p.stage is not None) == [s.index for s in stages(model)]
    assert points[-1] == Point("head", "head")
    depths = read_at(deepcopy(model), points, member.size).eval()
    with torch.no_grad():
        parts, together = depths.parts(pictures), depths(pictures)
    assert [part.shape[1] for part in parts] == list(depths.widths)
    for point, part in zip(points, parts, strict=True):
        cut: Any = HeadCut() if point.stage is None else StageCut(stage=point.stage)
        trunk, kind = cut_for("auto", deepcopy(model), cut, member.size)
        with torch.no_grad():
            expected = Pool(trunk.layout, trunk.prefix, kind)(trunk.eval()(pictures))
        torch.testing.assert_close(part, expected, atol=1e-5 * float(expected.abs().max() + 1), rtol=1e-5)
    torch.testing.assert_close(together, torch.cat(parts, 1))


@pytest.mark.parametrize("family", QUICK)
def test_every_depth_is_what_a_trunk_cut_there_computes(family: str) -> None:
    every_depth_is_what_a_trunk_cut_there_computes(QUICK[family])


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHERS)
def test_every_depth_of_the_other_families_too(family: str) -> None:
    every_depth_is_what_a_trunk_cut_there_computes(OTHERS[family])


def test_a_place_without_what_the_stages_need_is_refused() -> None:
    """Hiera reads its stages through a module behind its blocks: a layer among these leaves no stage to read."""
    member = QUICK["hiera"]
    model = create(TimmBackbone(name=member.name, kwargs=member.kwargs), member.size).model.eval()
    lacking = [name for name in model.state_dict() if name.startswith(("blocks.8", "blocks.9", "blocks.1", "head"))]
    assert "blocks.7" in layers(model, member.size)
    assert [point.kind for point in reach(model, member.size, lacking)] == ["stage"]
    with pytest.raises(InputError, match=r"blocks\.7 cannot be read in one pass"):
        read_at(model, [Point("stage", "blocks.2", 1), Point("layer", "blocks.7")], member.size)


def calls(model: nn.Module, run: Callable[[], object]) -> Counter[str]:
    """Count how often each module is called that has none inside it: a container may be looped over instead."""
    counted: Counter[str] = Counter()

    def count(path: str) -> Any:
        return lambda *_: counted.update([path])

    leaves = [(path, module) for path, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_pre_hook(count(path)) for path, module in leaves]
    run()
    for hook in hooks:
        hook.remove()
    return counted


@pytest.mark.parametrize("name", FAMILIES)
def test_all_depths_take_one_forward_pass(name: str) -> None:
    model = whole(name)
    depths = read_at(model, reach(model, SIZE), SIZE).eval()
    with torch.no_grad():
        once = calls(model, lambda: model(images()))
        assert once
        assert calls(model, lambda: depths.embed(images())) == once
        # Negative control: two passes are told apart from one.
        twice = calls(model, lambda: (depths.embed(images()), depths.embed(images())))
    assert twice != once


def before(name: str, position: float) -> set[str]:
    """Name the tensors of a network from a place on, which a file would lack."""
    names = [n for n in whole(name).state_dict() if not n.endswith("num_batches_tracked")]
    return set(names[int(position * len(names)) :])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("position", [0.3, 0.6, 0.9, 0.97])
def test_what_is_read_needs_nothing_that_is_lacking_and_nothing_deeper_would_do(name: str, position: float) -> None:
    model = whole(name)
    lacking = before(name, position)
    points = reach(model, SIZE, lacking)
    assert points
    kept = set(read_at(deepcopy(model), points, SIZE).model.state_dict())
    assert kept.isdisjoint(lacking)
    known = [Point("stage", stage.name, stage.index) for stage in stages(model)]
    assert [point for point in points if point.kind == "stage"] == known[: sum(p.kind == "stage" for p in points)]
    for deeper in known[sum(p.kind == "stage" for p in points) :]:
        assert lacking & set(cut_at(deepcopy(model), StageCut(stage=deeper.name), SIZE).model.state_dict())
    if points[-1].kind == "layer":
        stage_ends = [p for p in points if p.kind == "stage"]
        if stage_ends:
            shallower = read_at(deepcopy(model), stage_ends, SIZE).model.state_dict()
            assert set(shallower) < kept  # the layer adds something
        assert probe(read_at(deepcopy(model), points, SIZE), SIZE).isfinite().all()


def test_weights_that_end_inside_a_stage_are_read_to_the_deepest_covered_layer() -> None:
    lacking = [
        n for n in whole("test_convnext").state_dict() if n.startswith(("stages.2.blocks.1", "stages.3", "norm"))
    ]
    names = [point.name for point in reach(whole("test_convnext"), SIZE, lacking)]
    assert names == ["stages.0", "stages.1", "stages.2.blocks.0"]


def test_weights_that_end_with_a_stage_need_no_layer() -> None:
    lacking = [n for n in whole("test_resnet").state_dict() if n.startswith(("layer3", "layer4"))]
    points = reach(whole("test_resnet"), SIZE, lacking)
    assert [(point.kind, point.name) for point in points][-1] == ("stage", "layer2")


def test_weights_that_lack_the_beginning_reach_nothing() -> None:
    model = whole("test_resnet")
    assert reach(model, SIZE, ["conv1.0.weight"]) == []
    assert reach(whole("test_vit"), SIZE, ["pos_embed"]) == []  # the model's own, needed from the start


@pytest.mark.parametrize(
    ("until", "names"),
    [
        (None, ["act1", "layer1", "layer2", "layer3", "layer4"]),
        (1, ["act1", "layer1"]),
        ("layer2", ["act1", "layer1", "layer2"]),
        ("bn1", ["bn1"]),
        ("layer2.0", ["act1", "layer1", "layer2.0"]),  # all there is of layer2: it stands for the stage
    ],
)
def test_cut_all_ends_where_it_is_told(until: Any, names: list[str]) -> None:
    depths = cut_all(whole("test_resnet"), AllCut(until=until), SIZE)
    assert [point.name for point in depths.points] == names
    assert depths.point.kind == "all"
    with torch.no_grad():
        parts = depths.eval().parts(images())
    for point, part in zip(depths.points, parts, strict=True):
        torch.testing.assert_close(part, alone("test_resnet", point), atol=1e-5, rtol=1e-5)


def test_what_lies_behind_the_end_is_gone() -> None:
    depths = cut_all(whole("test_resnet"), AllCut(until="layer2"), SIZE)
    assert not [name for name in depths.state_dict() if re.search("layer[34]", name)]


@pytest.mark.parametrize("until", ["layer9", 5, -1, "layer1.0.conv1"])
def test_an_end_that_does_not_exist_is_told_with_those_that_do(until: Any) -> None:
    with pytest.raises(InputError, match=rf"cut\.until={re.escape(str(until))} does not exist"):
        cut_all(whole("test_resnet"), AllCut(until=until), SIZE)


def louder(model: nn.Module) -> nn.Module:
    """Let the scale grow by decades from one stage on."""
    with torch.no_grad():
        model.layer3[-1].bn3.weight.fill_(1e3)
    return model


def rms(parts: list[torch.Tensor]) -> list[float]:
    return [float(part.square().mean().sqrt()) for part in parts]


def test_calibration_gives_all_depths_one_scale() -> None:
    depths = cut_all(louder(whole("test_resnet")), AllCut(), SIZE).eval()
    with torch.no_grad():
        raw = depths(images())
        before_it = rms(list(raw.split(depths.widths, 1)))
        depths.calibrate()
        after = depths(images())
    assert max(before_it) / min(before_it) > 20  # the question was there
    assert all(0.3 < value < 3 for value in rms(list(after.split(depths.widths, 1))))
    ratio = after / raw
    for part in ratio.split(depths.widths, 1):  # a number a depth, nothing else
        values = part[part.isfinite()]
        torch.testing.assert_close(values, torch.full_like(values, float(values[0])))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_mambaout"])
@pytest.mark.parametrize("until", [None, 1])
def test_a_network_that_reads_all_stages_is_saved_and_read_back(name: str, until: Any, tmp_path: Path) -> None:
    backbone = TimmBackbone(name=name)
    network, seen, surgery = networks.build(
        backbone, ScratchInit(), AllCut(until=until), NoFreeze(), LinearHead(), 3, 0, SIZE
    )
    with torch.no_grad():
        network.train()(images() + 1)
        network.head.linear.weight.normal_()
    expected = network.eval()(images())
    assert network.trunk.layout == "vector"
    assert len(network.embed(images())[0]) == network.trunk.width == sum(network.trunk.widths)
    model_folder.save(tmp_path / "model", network, backbone, LinearHead(), seen, ["a", "b", "c"])
    loaded, _, _, _ = model_folder.load(tmp_path / "model")
    assert torch.equal(loaded(images()), expected)
    assert loaded.trunk.point == network.trunk.point
    assert surgery.kept == sum(p.numel() for p in network.trunk.parameters())
    with torch.no_grad():  # negative control: the scale is part of what was saved
        loaded.trunk.scale.mul_(2)
    assert not torch.equal(loaded(images()), expected)


def test_everything_but_the_scale_trains() -> None:
    network, _, _ = networks.build(
        TimmBackbone(name="test_resnet"), ScratchInit(), AllCut(), NoFreeze(), LinearHead(), 3, 0, SIZE
    )
    network.train()(images()).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    first = next(network.trunk.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0
    assert "trunk.scale" not in dict(network.named_parameters())


def test_depths_have_the_weights_of_the_run_and_cost_what_trunks_cost(tmp_path: Path) -> None:
    backbone = TimmBackbone(name="test_resnet")
    depths, costs, seen = open_depths(backbone, ScratchInit(), 7, SIZE)
    built = networks.build(backbone, ScratchInit(), StageCut(stage=2), TrunkFreeze(), LinearHead(), 3, 7, SIZE)[0]
    state = depths.model.state_dict()
    assert all(torch.equal(state[n], t) for n, t in built.trunk.model.state_dict().items())
    assert not depths.training
    assert not any(p.requires_grad for p in depths.parameters())
    assert seen.image_size == SIZE
    for point, cost in zip(depths.points, costs, strict=True):
        cut: Any = HeadCut() if point.kind == "head" else StageCut(stage=point.name)
        trunk = cut_at(whole("test_resnet"), cut, SIZE)
        assert cost == (sum(p.numel() for p in trunk.parameters()), multiply_adds(trunk, SIZE))


@pytest.mark.parametrize("prefix", ["", "trunk.model."])
def test_a_file_that_ends_early_is_read_as_far_as_it_goes(tmp_path: Path, prefix: str) -> None:
    backbone = TimmBackbone(name="test_convnext")
    state = whole("test_convnext", seed=5).state_dict()
    gone = ("stages.2.blocks.1", "stages.3", "norm", "head")
    kept = {prefix + n: t for n, t in state.items() if not n.startswith(gone)}
    if prefix:  # a run's own folder
        (tmp_path / "model").mkdir()
        write_tensors(tmp_path / "model" / "weights.safetensors", kept)
        init = PretrainedInit(run=str(tmp_path))
    else:
        write_tensors(tmp_path / "w.safetensors", kept)
        init = PretrainedInit(file=str(tmp_path / "w.safetensors"))
    assert [p.name for p in reached(backbone, init, SIZE)] == ["stages.0", "stages.1", "stages.2.blocks.0"]
    depths, costs, _ = open_depths(backbone, init, 0, SIZE)
    assert costs[1] < costs[2]
    for name, tensor in depths.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    # Negative control: a place that the file does not reach is refused.
    with pytest.raises(InputError, match="lacks weights"):
        networks.build(backbone, init, AllCut(until=2), TrunkFreeze(), LinearHead(), 3, 0, SIZE)


def test_a_file_of_another_network_is_told(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", whole("test_vit").state_dict())
    with pytest.raises(InputError, match="another architecture"):
        open_depths(TimmBackbone(name="test_resnet"), PretrainedInit(file=str(tmp_path / "w.safetensors")), 0, SIZE)


def test_a_pass_that_ends_elsewhere_is_noticed() -> None:
    """Negative control of the proof: what the one pass reads last is not what the network computes."""
    model = whole("test_resnet")
    plain = model.forward_head
    model.forward_head = lambda features, **how: plain(features, **how) + how.get("shift", 0)  # type: ignore[assignment]
    assert read_at(deepcopy(model), reach(model, SIZE), SIZE)
    model.forward = lambda images: plain(model.forward_features(images)) + 1  # type: ignore[assignment]
    with pytest.raises(InputError, match="cannot be read in one pass"):
        read_at(model, reach(whole("test_resnet"), SIZE), SIZE)
