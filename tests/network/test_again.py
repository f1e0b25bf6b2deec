"""A network that is asked for again: equal, independent of the first, and made anew where anything differs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tlx.config.groups import HeadCut, LinearHead, NoFreeze, PretrainedInit, ScratchInit, StageCut, TimmBackbone
from tlx.network import again as module
from tlx.network import network as networks
from tlx.network.network import Network
from tlx.storage import write_tensors


@pytest.fixture(autouse=True)
def _nothing_before() -> Iterator[None]:
    module._last.clear()
    yield
    module._last.clear()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the networks that are made from the beginning."""
    count: list[int] = []
    real = networks._fitted

    def fitted(*args: Any) -> Any:
        count.append(1)
        return real(*args)

    monkeypatch.setattr(networks, "_fitted", fitted)
    return count


def build(**changes: Any) -> Network:
    wanted: dict[str, Any] = {
        "backbone": TimmBackbone(name="test_resnet"), "init": ScratchInit(), "cut": StageCut(stage=2),
        "freeze": NoFreeze(), "head": LinearHead(), "num_classes": 3, "seed": 0, "image_size": 32,
    }  # fmt: skip
    return networks.build(**{**wanted, **changes})[0]


def test_the_second_is_equal_and_independent(made: list[int]) -> None:
    first = build()
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    second = build()
    assert len(made) == 1
    assert all(torch.equal(tensor, state[name]) for name, tensor in second.state_dict().items())
    with torch.no_grad():
        second.head.linear.bias.add_(5)
    assert torch.equal(build().head.linear.bias, state["head.linear.bias"])
    image = torch.randn(2, 3, 32, 32)
    module._last.clear()
    with torch.no_grad():
        assert torch.equal(build().eval()(image), build().eval()(image))  # made, and copied
    assert len(made) == 2
    assert {n for n, p in build().named_parameters() if p.requires_grad} == set(build().trained)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"cut": HeadCut()}, {"num_classes": 4}, {"head": LinearHead(dropout=0.1)}, {"image_size": 40},
        {"backbone": TimmBackbone(name="test_resnet", kwargs={"drop_rate": 0.1})},
    ],
)  # fmt: skip
def test_anything_else_is_made_anew(change: dict[str, Any], made: list[int]) -> None:
    build()
    build(**change)
    assert len(made) == 2


def test_a_file_that_has_changed_is_read_anew(made: list[int], tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    write_tensors(file, build().trunk.model.state_dict())
    init = PretrainedInit(file=str(file))
    one = build(init=init)
    assert torch.equal(build(init=init).trunk.model.conv1[0].weight, one.trunk.model.conv1[0].weight)
    assert len(made) == 2
    write_tensors(file, {name: tensor + 1 for name, tensor in one.trunk.model.state_dict().items()})
    other = build(init=init)
    assert torch.equal(other.trunk.model.conv1[0].weight, one.trunk.model.conv1[0].weight + 1)
    os.utime(file)
    build(init=init)
    assert len(made) == 4


def test_large_networks_are_not_kept(made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "KEPT_AGAIN", 10)
    build()
    build()
    assert len(made) == 2
