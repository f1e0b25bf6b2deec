"""Freeze: what is frozen does not move, whoever trains; and the proof notices when it does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlx.config.groups import HeadCut, LinearHead, NoFreeze, ScratchInit, TimmBackbone, TrunkFreeze
from tlx.errors import EXIT_BUG, FrozenMovedError
from tlx.network.fingerprint import assert_unmoved, combined, hashed
from tlx.network.freeze import sleeping
from tlx.network.network import Network, build

# BatchNorm, and dropout both between blocks and in front of the classifier: whatever could move or vary in a trunk.
NOISY = TimmBackbone(name="test_resnet", kwargs={"drop_rate": 0.5, "drop_path_rate": 0.5})


def network(freeze: TrunkFreeze | NoFreeze, dropout: float = 0.0) -> Network:
    return build(NOISY, ScratchInit(), HeadCut(), freeze, LinearHead(dropout=dropout), 3, seed=0, image_size=32)[0]


def train_steps(net: Network, steps: int = 3) -> None:
    """Take real optimizer steps over everything, weight decay included, with .train() called as callers do."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        net.train()
        images = torch.randn(4, 3, 32, 32, generator=generator) + 3
        loss = F.cross_entropy(net(images), torch.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def hashes(net: Network) -> dict[str, str]:
    return hashed(net.frozen_tensors())


def test_a_frozen_trunk_is_byte_equal_after_training() -> None:
    net = network(TrunkFreeze())
    before, state = hashes(net), copy.deepcopy(net.trunk.state_dict())
    head = net.head.linear.weight.detach().clone()
    train_steps(net)
    assert_unmoved(before, hashes(net))
    assert {n.removeprefix("trunk.") for n in before} == set(state)  # parameters and buffers, all of them
    assert any("running_var" in name for name in before)
    assert all(torch.equal(state[n], t) for n, t in net.trunk.state_dict().items())
    assert not torch.equal(head, net.head.linear.weight)  # the steps were real


def test_without_the_guard_buffers_move_and_the_proof_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: nn.Module's own train() wakes the BatchNorm of a trunk without gradients."""
    net = network(TrunkFreeze())
    before = hashes(net)
    monkeypatch.setattr(Network, "train", nn.Module.train)
    train_steps(net)
    assert not torch.equal(net.trunk.model.bn1.running_mean, torch.zeros_like(net.trunk.model.bn1.running_mean))
    with pytest.raises(
        FrozenMovedError, match=r"frozen tensors moved .*trunk\.model\.conv1\.1\.running_mean,"
    ) as caught:
        assert_unmoved(before, hashes(net))
    assert caught.value.exit_code == EXIT_BUG


def test_a_parameter_that_wakes_behind_the_policy_is_named() -> None:
    net = network(TrunkFreeze())
    before = hashes(net)
    with torch.no_grad():
        net.trunk.model.layer4[0].conv1.weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(
        FrozenMovedError, match=r"1 frozen tensors moved during training: trunk\.model\.layer4\.0\.conv1"
    ):
        assert_unmoved(before, hashes(net))


def test_frozen_stays_in_eval_mode_however_often_anyone_calls_train() -> None:
    net = network(TrunkFreeze(), dropout=0.5)
    for call in (net.train, net.train, net.eval, net.train, lambda: net.set_epoch(3), lambda: nn.Module.train(net)):
        call()
    net.train()  # the last word has the guard again
    assert not any(module.training for module in net.trunk.modules())
    assert net.training
    assert net.head.dropout.training
    assert not any(p.requires_grad for p in net.trunk.parameters())
    assert all(p.requires_grad for p in net.head.parameters())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(net.embed(images), net.embed(images))  # no dropout in the trunk
    inside = nn.ModuleDict({"learner": net})
    inside.train()  # as Lightning does: through the module that holds it
    assert not any(module.training for module in net.trunk.modules())


def test_an_awake_trunk_trains_moves_and_drops() -> None:
    net = network(NoFreeze())
    assert hashes(net) == {}
    assert net.trained == {name for name, _ in net.named_parameters()}
    before = copy.deepcopy(net.state_dict())
    images = torch.randn(2, 3, 32, 32)
    net.train()
    assert all(module.training for module in net.modules())
    assert not torch.equal(net.embed(images), net.embed(images))
    train_steps(net)
    assert all(not torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_no_graph_is_built_through_a_frozen_trunk() -> None:
    images = torch.randn(2, 3, 32, 32)
    assert not network(TrunkFreeze()).embed(images).requires_grad
    assert network(NoFreeze()).embed(images).requires_grad
    with torch.no_grad():
        assert not network(NoFreeze()).embed(images).requires_grad


def test_sleeping_finds_the_outermost_modules() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.ReLU(), nn.Linear(2, 2))
    assert sleeping(net, frozenset({"2.weight"})) == [net[0]]
    assert sleeping(net, frozenset({"0.1.weight", "2.bias"})) == [net[0][0]]
    assert sleeping(net, frozenset()) == [net]


def test_a_batchnorm_half_of_which_trains_is_awake() -> None:
    net = network(NoFreeze())
    net.trained = frozenset(n for n in net.trained if n != "trunk.model.bn1.weight")
    assert set(net.frozen_tensors()) == {"trunk.model.bn1.weight"}  # none of its buffers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8])
def test_a_fingerprint_notices_one_flipped_bit(dtype: torch.dtype) -> None:
    tensor = (torch.arange(24) % 7).to(dtype).reshape(2, 3, 4)
    flipped = tensor.clone()
    flipped.view(-1).view(torch.uint8)[-1] ^= 1
    assert hashed({"a": tensor}) == hashed({"a": tensor.clone()})
    assert hashed({"a": tensor}) != hashed({"a": flipped})


def test_a_fingerprint_notices_shape_type_and_sign_but_not_strides() -> None:
    tensor = torch.zeros(2, 3, 4, 5)
    one = hashed({"a": tensor})
    assert one != hashed({"a": tensor.reshape(3, 2, 4, 5)})
    assert one != hashed({"a": tensor.int()})
    assert one != hashed({"a": -tensor})  # minus zero
    assert one == hashed({"a": tensor.contiguous(memory_format=torch.channels_last)})
    values = torch.randn(2, 3, 4, 5)
    assert hashed({"a": values}) == hashed({"a": values.contiguous(memory_format=torch.channels_last)})
    assert hashed({"a": torch.tensor(1)}) != hashed({"a": torch.tensor([1])})
    assert hashed({"a": torch.zeros(0)}) != hashed({"a": torch.zeros(0, 2)})


def test_the_combined_hash_knows_names_but_no_order() -> None:
    assert combined({"a": "1", "b": "2"}) == combined({"b": "2", "a": "1"})
    assert combined({"a": "1", "b": "2"}) != combined({"a": "2", "b": "1"})


def test_a_tensor_that_vanished_counts_as_moved() -> None:
    with pytest.raises(FrozenMovedError, match="6 frozen tensors moved during training: b, c, d, e, f and 1 more"):
        assert_unmoved(dict.fromkeys("abcdefg", "1"), {"a": "1"})
