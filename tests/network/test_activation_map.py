"""Activation maps say which places spoke for a class, for maps and tokens, and leave the network as it was."""

from __future__ import annotations

import pytest
import torch

from tlx.config import groups as g
from tlx.errors import InputError
from tlx.network import network as networks
from tlx.network.activation_map import activation_maps
from tlx.network.network import Network


def build(name: str, cut: g.HeadCut | g.StageCut | g.LayerCut, head: object = None, **how: object) -> Network:
    backbone = g.TimmBackbone(name=name, kwargs={})
    network, _, _ = networks.build(
        backbone, g.ScratchInit(), cut, g.TrunkFreeze(), head or g.LinearHead(), num_classes=4, seed=0, image_size=None,
        drop_path=0.0,
    )  # fmt: skip
    return network.eval()


def images(network: Network, count: int = 5) -> torch.Tensor:
    size = network.trunk.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_of_a_mean_and_a_linear_head_a_map_is_what_each_place_adds() -> None:
    network = build("test_resnet", g.StageCut(stage=2))
    x, classes = images(network, 6), torch.tensor([0, 1, 2, 3, 0, 1])  # more than pass at once
    with torch.no_grad():
        weight = network.head.linear.weight[classes]
        spoken = torch.einsum("ndhw,nd->nhw", network.trunk(x), weight).clamp_min(0)
    expected = spoken / spoken.amax((1, 2), keepdim=True).clamp_min(1e-30)
    assert torch.allclose(activation_maps(network, x, classes), expected, atol=1e-4)
    # The negative control: what speaks for another class is another map.
    assert not torch.allclose(activation_maps(network, x, (classes + 1) % 4), expected, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "cut", "head", "side"),
    [
        ("test_resnet", g.HeadCut(), g.LinearHead(), 5),
        ("test_resnet", g.LayerCut(name="layer2"), g.MlpHead(hidden=[8]), 20),
        ("test_vit", g.HeadCut(), g.LinearHead(), 10),  # reads its class token
        ("test_vit", g.LayerCut(name="blocks.2"), g.CosineHead(), 10),
        ("test_vit", g.StageCut(stage=1), g.LinearHead(), 10),
        ("test_convnext", g.HeadCut(), g.LinearHead(pool="auto"), 5),
    ],
)
def test_maps_of_any_features_are_finite_and_somewhere_speak(name: str, cut: object, head: object, side: int) -> None:
    network = build(name, cut, head)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    maps = activation_maps(network, images(network), torch.tensor([0, 1, 2, 3, 0]))
    assert maps.shape == (5, side, side)
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert maps.max() == 1
    assert (maps.amax((1, 2)) > 0).float().mean() > 0.3
    assert not network.training
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_features_without_places_are_refused() -> None:
    network = build("test_resnet", g.HeadCut())
    depths, _, _ = networks.build(
        g.TimmBackbone(name="test_resnet", kwargs={}), g.ScratchInit(), g.AllCut(), g.TrunkFreeze(), g.LinearHead(),
        num_classes=4, seed=0, image_size=None, drop_path=0.0,
    )  # fmt: skip
    with pytest.raises(InputError, match="several depths"):
        activation_maps(depths, images(network), torch.zeros(5, dtype=torch.int64))
    network.head.kind = "neighbours"
    with pytest.raises(InputError, match="votes"):
        activation_maps(network, images(network), torch.zeros(5, dtype=torch.int64))
