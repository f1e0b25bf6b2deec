"""Drop path from the config: it reaches the blocks, is told where there are none, and sleeps with what is frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tlx.config import groups as g
from tlx.errors import InputError
from tlx.network.freeze import Freeze
from tlx.network.network import Network, build


def network(
    name: str = "test_resnet", drop_path: float = 0.3, cut: Any = None, policy: Freeze | None = None, kwargs: Any = None
) -> Network:
    if name == "test_resnet":
        kwargs = {"zero_init_last": False, **(kwargs or {})}  # else its blocks return nothing yet that could be dropped
    backbone = g.TimmBackbone(name=name, kwargs=kwargs)
    parts = (backbone, g.ScratchInit(), cut or g.HeadCut(), policy or g.NoFreeze(), g.LinearHead())
    return build(*parts, num_classes=3, seed=0, image_size=64, drop_path=drop_path)[0]


def rates(net: Network) -> list[float]:
    return [float(m.drop_prob) for m in net.modules() if getattr(m, "drop_prob", None) is not None]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "mobilenetv3_small_050", "test_mambaout"])
def test_rates_rise_from_the_first_block_to_the_last_and_nothing_else_changes(name: str) -> None:
    net, plain = network(name), network(name, drop_path=0.0)
    assert max(rates(net)) == pytest.approx(0.3, abs=0.11)  # some architectures keep the last step below the rate
    assert rates(net) == sorted(rates(net))
    assert not any(rates(plain))
    state, same = net.state_dict(), plain.state_dict()
    assert list(state) == list(same)
    assert all(torch.equal(state[n], same[n]) for n in state)
    images = torch.randn(4, 3, 64, 64)
    assert torch.equal(net.eval()(images), plain.eval()(images))
    torch.manual_seed(0)
    outputs = [[model.train()(images) for _ in range(9)] for model in (net, plain)]
    same = [all(torch.equal(one[0], output) for output in one[1:]) for one in outputs]
    assert same == [False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "densenet121"}, "densenet121 takes no drop path; set regularizer.drop_path=0"),
        ({"name": "vgg11"}, "vgg11 takes no drop path"),
        ({"kwargs": {"drop_path_rate": 0.1}}, r"drop_path and backbone\.kwargs\.drop_path_rate are both given"),
        ({"cut": g.StageCut(stage=0)}, "no block of test_resnet that the cut keeps is ever left out"),
        ({"name": "test_vit", "kwargs": {"depth": 1}}, "no block of test_vit"),
        ({"name": "test_efficientnet"}, "no block of test_efficientnet"),  # it has drop paths, and no shortcut
        ({"kwargs": {"nonsense": 1}}, "timm cannot build test_resnet with .*nonsense"),
    ],
)
def test_where_it_cannot_be_that_is_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(**settings)


def test_it_sleeps_with_what_is_frozen() -> None:
    net = network(policy=g.LastFreeze(stages=1), drop_path=0.6)
    net.train()
    paths = {n: m for n, m in net.named_modules() if getattr(m, "drop_prob", 0)}
    awake = {n for n, m in paths.items() if m.training}
    assert awake == {n for n in paths if n.startswith("trunk.model.layer4")}
    assert awake != set(paths)
    images = torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        below = [net.trunk.model.forward_intermediates(images, indices=[3], intermediates_only=True)[0] for _ in "abc"]  # type: ignore[operator]
        above = [net.embed(images) for _ in "abc"]
    assert torch.equal(below[0], below[1])
    assert torch.equal(below[0], below[2])
    assert not all(torch.equal(above[0], other) for other in above[1:])
