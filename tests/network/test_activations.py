"""What a forward pass keeps: nothing of a frozen prefix, and little with checkpointing, for the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlx.config import groups as g
from tlx.errors import InputError
from tlx.network import activations
from tlx.network.activations import checkpoint, kept_bytes
from tlx.network.cut import Cut
from tlx.network.freeze import Freeze
from tlx.network.network import Network, build

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def network(name: str = "test_resnet", freeze: Freeze | None = None, cut: Cut | None = None, **kwargs: Any) -> Network:
    backbone = g.TimmBackbone(name=name, kwargs=kwargs)
    return build(backbone, g.ScratchInit(), cut or g.HeadCut(), freeze or g.NoFreeze(), g.LinearHead(), 3, 0, 32)[0]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_the_deeper_the_frozen_prefix_the_less_is_kept(name: str) -> None:
    count = len(network(name).anatomy.stages)
    policies: list[Freeze] = [g.NoFreeze(), *(g.UptoFreeze(stage=stage) for stage in range(count))]
    kept = [kept_bytes(network(name, policy).train(), IMAGES) for policy in policies]
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < 0.1 * kept[0]
    last = [kept_bytes(network(name, g.LastFreeze(stages=stages)).train(), IMAGES) for stages in range(1, count + 1)]
    assert last == sorted(last)
    assert last[0] < kept[0]


def test_a_frozen_prefix_with_a_graph_would_be_noticed() -> None:
    """Negative control: gradients through the first layer keep what is behind it."""
    frozen = network(freeze=g.UptoFreeze(stage=3)).train()
    kept = kept_bytes(frozen, IMAGES)
    next(frozen.trunk.parameters()).requires_grad = True
    assert kept_bytes(frozen, IMAGES) > 2 * kept


def gradients(net: Network, passes: int = 2) -> dict[str, torch.Tensor]:
    """Run forwards and backwards; return gradients and buffers."""
    net.train()
    for number in range(passes):
        torch.manual_seed(number)
        F.cross_entropy(net(IMAGES), torch.arange(4) % 3).backward()
    found = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    return found | {n: b.clone() for n, b in net.named_buffers()}


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("test_resnet", {"drop_path_rate": 0.3, "drop_rate": 0.2, "zero_init_last": False}),
        ("test_vit", {"drop_path_rate": 0.3}),
        ("test_efficientnet", {}),
    ],
)
@pytest.mark.parametrize("freeze", [g.NoFreeze(), g.LastFreeze(stages=2)], ids=["none", "last"])
def test_checkpointing_keeps_less_and_changes_no_gradient_and_no_statistics(
    name: str, kwargs: dict[str, Any], freeze: Freeze
) -> None:
    plain, saving = network(name, freeze, **kwargs), network(name, freeze, **kwargs)
    names = list(saving.state_dict())
    checkpoint(saving)
    assert list(saving.state_dict()) == names
    wanted, found = gradients(plain), gradients(saving)
    assert wanted.keys() == found.keys()
    for key, tensor in wanted.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-4, atol=1e-6, msg=key)
    torch.testing.assert_close(plain.eval()(IMAGES), saving.eval()(IMAGES), rtol=1e-4, atol=1e-5)
    if freeze.kind == "none":
        assert kept_bytes(plain.train(), IMAGES) > kept_bytes(saving.train(), IMAGES)


def test_batchnorms_that_see_every_batch_twice_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without the guard, statistics move twice a step."""
    monkeypatch.setattr(activations, "_again", lambda: False)
    plain, saving = network(), network()
    checkpoint(saving)
    wanted, found = gradients(plain), gradients(saving)
    off = [name for name in wanted if "running_mean" in name and not torch.allclose(wanted[name], found[name])]
    assert off


def test_a_statistic_is_held_no_longer_than_the_second_pass() -> None:
    saving = network()
    checkpoint(saving)
    gradients(saving)
    norms = [m for m in saving.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(m.momentum == 0.1 and int(m.num_batches_tracked) == 2 for m in norms)


@pytest.mark.parametrize("name", ["vgg11", "dla34"])
def test_a_backbone_without_it_is_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"trainer\.checkpointing=true: this backbone offers no gradient checkpointing"
    ):
        checkpoint(network(name))


def test_a_cut_at_which_nothing_is_saved_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    monkeypatch.setattr(type(net.trunk.model), "set_grad_checkpointing", lambda self, enable=True: None)
    with pytest.raises(InputError, match="keeps no less of this backbone's activations"):
        checkpoint(net)
