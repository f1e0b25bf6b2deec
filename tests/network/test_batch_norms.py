"""BatchNorms that see the batch of all processes compute, on one of them, what they computed before."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from tests.network.test_activations import IMAGES, gradients, network
from tlx.config import groups as g
from tlx.network.activations import checkpoint
from tlx.network.batch_norms import separate, synchronise
from tlx.network.network import Network


def norms(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def moved(net: Network) -> Network:
    """Give BatchNorms statistics and weights of their own."""
    for module in norms(net):
        for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
            nn.init.uniform_(tensor, 0.5, 1.5)  # type: ignore[arg-type]
    return net.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_the_activations_inside_stay(name: str) -> None:
    net = moved(network(name))
    before, names, classes = net(IMAGES), list(net.state_dict()), [type(m) for m in norms(net)]
    synchronise(net)
    assert len(norms(net)) == len(classes) > 5
    assert all(isinstance(m, nn.SyncBatchNorm) for m in norms(net))
    assert torch.equal(net(IMAGES), before)
    assert list(net.state_dict()) == names
    synchronise(net)  # twice is once
    separate(net)
    assert [type(m) for m in norms(net)] == classes
    assert torch.equal(net(IMAGES), before)
    assert "process_group" not in vars(norms(net)[0])


def test_torchs_conversion_loses_them() -> None:
    """Negative control of the test above."""
    net = moved(network("test_efficientnet"))
    before = net(IMAGES)
    plain = nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(net))
    assert not torch.allclose(plain(IMAGES), before, rtol=1e-2)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_what_checkpointing_holds_and_what_sleeps_stay(name: str) -> None:
    """Statistics move once a step; those of frozen BatchNorms do not."""
    plain, saving = network(name, g.LastFreeze(stages=2)), network(name, g.LastFreeze(stages=2))
    checkpoint(saving)
    synchronise(saving)
    wanted, found = gradients(plain), gradients(saving)
    assert wanted.keys() == found.keys()
    assert all(torch.allclose(found[key], tensor, rtol=1e-4, atol=1e-6) for key, tensor in wanted.items())
    asleep = [m.training for m in norms(saving)]
    assert asleep == [m.training for m in norms(plain)]
    assert set(asleep) == {True, False}


def test_one_that_computes_in_its_own_way_is_left_alone() -> None:
    class Own(nn.BatchNorm2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) + 1

    net = nn.Sequential(Own(3), nn.BatchNorm2d(3))
    synchronise(net)
    assert [type(m) for m in net] == [Own, nn.SyncBatchNorm]
