"""The memory format changes the order in memory and nothing else."""

from __future__ import annotations

import pytest
import torch

from tests.network.test_custom import SIZE
from tlx.config import groups as g
from tlx.network.memory_format import FORMATS, formats, lay_out
from tlx.network.network import Network, build

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def network(cut: g.HeadCut | g.AllCut) -> Network:
    return build(g.TimmBackbone(name="test_resnet"), g.ScratchInit(), cut, g.NoFreeze(), g.LinearHead(), 3, 0, 32)[0]


def ordered(net: Network, name: str) -> bool:
    maps = [p for p in net.trunk.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert maps
    return all(p.is_contiguous(memory_format=FORMATS[name]) for p in maps)


@pytest.mark.parametrize("cut", [g.HeadCut(), g.AllCut()], ids=["head", "all"])
def test_weights_and_images_are_laid_out_and_the_values_stay(cut: g.HeadCut | g.AllCut) -> None:
    net = network(cut).eval()
    assert formats(net.trunk) == ("channels_last", "contiguous")
    assert ordered(net, "channels_last")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    usual = net(IMAGES)
    seen: list[torch.Tensor] = []
    net.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lay_out(net.trunk, "contiguous")
    assert ordered(net, "contiguous")
    assert not ordered(net, "channels_last")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    torch.testing.assert_close(net(IMAGES), usual, rtol=1e-4, atol=1e-5)
    assert seen[0].is_contiguous()
    lay_out(net.trunk, "channels_last")
    assert torch.equal(net(IMAGES), usual)


def test_a_network_of_the_users_own_stays_contiguous() -> None:
    backbone = g.CustomBackbone(target="tests.network.test_memory_format.Own", image_size=SIZE)
    net = build(backbone, g.ScratchInit(), g.HeadCut(), g.NoFreeze(), g.LinearHead(), 3, 0, SIZE)[0]
    assert formats(net.trunk) == ("contiguous",)
    assert ordered(net, "contiguous")


class Own(torch.nn.Module):
    """What `view` does needs contiguous maps."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.fc = torch.nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(images).relu().mean((2, 3)))
