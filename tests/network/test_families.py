"""Every family of timm, cut at every stage: what is announced comes out, and nothing more is kept than that needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import timm.models
import torch
from torch import nn

from tests.network.families import OTHERS, QUICK, Member
from tlx.config.groups import DepthCut, HeadCut, LinearHead, NoFreeze, ScratchInit, StageCut, TimmBackbone
from tlx.network import model_folder
from tlx.network import network as networks
from tlx.network.backbone import create
from tlx.network.cost import multiply_adds
from tlx.network.cut import Cut, stages
from tlx.network.depth import stage_depths
from tlx.network.network import Network

CLASSES = list("abc")


class Proof(NamedTuple):
    """What a cut at one stage left: the parameters' names, those of weights, and the cost."""

    stage: int
    names: set[str]
    weights: set[str]
    multiply_adds: int


def proofs(member: Member, folder: Path) -> Iterator[Proof]:
    """Cut a member at each of its stages, at half its depth and behind its last layer, and assert what holds there."""
    backbone = TimmBackbone(name=member.name, kwargs=member.kwargs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = create(backbone, member.size).model.eval()  # the weights that `build` draws from seed 0
    images = torch.randn(2, 3, member.size, member.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = whole.forward_intermediates(images, intermediates_only=True)  # type: ignore[operator]
        pooled = whole(images)
    for stage in stages(whole):
        trunk = proven(backbone, StageCut(stage=stage.index), images, maps[stage.index], folder).trunk
        assert (trunk.layout, trunk.width) == ("NCHW", trunk.shape[0]) == ("NCHW", stage.channels)
        kept = {n: p.dim() for n, p in trunk.named_parameters()}
        yield Proof(stage.index, set(kept), {n for n, d in kept.items() if d > 1}, multiply_adds(trunk, member.size))
    depths = stage_depths(whole, member.size)
    assert depths == sorted(depths) or side_by_side(whole)
    proven(backbone, HeadCut(), images, pooled, folder)
    proven(backbone, DepthCut(keep=0.5), images, None, folder)


def proven(
    backbone: TimmBackbone, cut: Cut, images: torch.Tensor, expected: torch.Tensor | None, folder: Path
) -> Network:
    """Build a network, and assert that it computes, trains, is saved and read back, all that it holds being used."""
    size = images.shape[-1]
    network, seen, _ = networks.build(backbone, ScratchInit(), cut, NoFreeze(), LinearHead(), 3, 0, size)
    trunk = network.eval().trunk
    features = trunk(images)
    assert features.shape[1:] == trunk.shape
    if expected is not None:  # not bit for bit: a network computes channels last, the whole model does not
        torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    unread = without_gradient(trunk, features.sum())
    assert not unread, unread

    network.train()
    nn.functional.cross_entropy(network(images), torch.tensor([0, 2])).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    model_folder.save(folder, network, backbone, LinearHead(), seen, CLASSES)
    loaded, _, _, _ = model_folder.load(folder)
    with torch.no_grad():  # as the loaded network has it, whose trunk is frozen
        assert torch.equal(loaded(images), network.eval()(images))
    return network


def without_gradient(module: nn.Module, scalar: torch.Tensor) -> list[str]:
    """Name the parameters that a backward pass from ``scalar`` does not reach."""
    names, parameters = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
    gradients = torch.autograd.grad(scalar, parameters, allow_unused=True)
    return [n for n, g in zip(names, gradients, strict=True) if g is None]


def side_by_side(whole: nn.Module) -> bool:
    """Whether stages are announced branch by branch: several name the same module."""
    names = [s.name for s in stages(whole)]
    return len(set(names)) < len(names)


def must_grow(found: list[Proof]) -> None:
    """Assert that the cost grows from cut to cut.

    It may only stand still where the next cut keeps no further weights (VGG announces its last activation, and the
    pooling behind that), or where both lie side by side, neither keeping all that the other keeps.
    """
    ordered = sorted(found, key=lambda proof: (proof.multiply_adds, len(proof.names), proof.stage))
    for i, earlier in enumerate(ordered):
        for later in ordered[i + 1 :]:
            assert not earlier.weights > later.weights
            if earlier.weights < later.weights:
                assert earlier.multiply_adds < later.multiply_adds


@pytest.mark.parametrize("family", QUICK)
def test_every_stage_of_a_family(family: str, tmp_path: Path) -> None:
    must_grow(list(proofs(QUICK[family], tmp_path / "model")))


def test_enough_families_are_in_every_run() -> None:
    known = {family: timm.models.list_models(module=family) for family in timm.models.list_modules()}
    assert all(QUICK[family].name in known[family] for family in QUICK)
    assert len({member.name for member in QUICK.values()}) >= 40


def test_every_family_of_timm_has_a_member() -> None:
    assert {*QUICK, *OTHERS} == set(timm.models.list_modules())
    assert not set(QUICK).intersection(OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({**QUICK, **OTHERS}))
def test_a_family_at_full_length(family: str, tmp_path: Path) -> None:
    """Every module of timm.models; those of the ordinary run as well, so that the passes are the families."""
    must_grow(list(proofs({**QUICK, **OTHERS}[family], tmp_path / "model")))


def test_the_checks_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative controls: leave in what nothing reads; count what does not grow."""
    with monkeypatch.context() as patch:
        patch.setattr("tlx.network.cut.drop_unread", lambda trunk, size: None)
        with pytest.raises(AssertionError, match="norm23"):
            list(proofs(QUICK["coat"], tmp_path))
    few, many = {"a.weight"}, {"a.weight", "b.weight"}
    must_grow([Proof(0, few, few, 1), Proof(1, many, many, 2)])
    with pytest.raises(AssertionError):
        must_grow([Proof(0, few, few, 2), Proof(1, many, many, 2)])
    with pytest.raises(AssertionError):
        must_grow([Proof(0, few, few, 2), Proof(1, many, many, 1)])
