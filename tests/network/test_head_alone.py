"""HeadAlone: what trains in it trains in the network that it was taken from."""

from __future__ import annotations

import pytest
import torch

from tlx.config import groups as g
from tlx.learner.optimization import parameter_groups
from tlx.network.head import HEADS, HeadConfig
from tlx.network.head_alone import HeadAlone
from tlx.network.network import Network, build

TRAINED = [HEADS[kind] for kind in ("linear", "mlp", "cosine")]


def network_with(head: HeadConfig) -> Network:
    backbone = g.TimmBackbone(name="test_resnet")
    return build(backbone, g.ScratchInit(), g.HeadCut(), g.TrunkFreeze(), head, 3, 0, 32)[0]


@pytest.mark.parametrize("kind", TRAINED)
def test_it_is_the_network_on_known_features(kind: type[HeadConfig]) -> None:
    network = network_with(kind())
    alone = HeadAlone(network)
    network.eval()
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(alone(network.embed(images)), network(images))
    assert alone.trained_in(0) == network.trained_in(0) == {name for name, _ in alone.named_parameters()}
    assert set(alone.state_dict()) == {name for name in network.state_dict() if name.startswith("head.")}
    assert alone.frozen_tensors() == {}
    for one, other in zip(*(parameter_groups(n, g.AdamW(), 1) for n in (alone, network)), strict=True):
        assert {**one, "params": list(map(id, one["params"]))} == {**other, "params": list(map(id, other["params"]))}


@pytest.mark.parametrize("kind", TRAINED)
def test_what_trains_in_it_trains_in_the_network(kind: type[HeadConfig]) -> None:
    network = network_with(kind())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    alone = HeadAlone(network)
    alone(torch.randn(4, network.head.width)).square().sum().backward()
    with torch.no_grad():
        for parameter in alone.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("head.") for name in moved)
