"""Every freeze policy, on real training steps: what trains, what sleeps, and what must not move by a bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlx.config import groups as g
from tlx.errors import FrozenMovedError, InputError
from tlx.network.fingerprint import assert_unmoved, hashed
from tlx.network.freeze import Freeze, phases
from tlx.network.network import Network, build

POLICIES: dict[str, Freeze] = {
    "trunk": g.TrunkFreeze(),
    "none": g.NoFreeze(),
    "upto_stage": g.UptoFreeze(stage=1),
    "upto_layer": g.UptoFreeze(stage="layer2"),
    "last": g.LastFreeze(stages=2),
    "gradual": g.GradualFreeze(every=1),
    "lp_ft": g.LpFtFreeze(),
    "norm": g.NormFreeze(),
    "bias": g.BiasFreeze(),
    "surgical": g.SurgicalFreeze(),
    "pattern": g.PatternFreeze(train=[r"layer3\.", r"bn1\.bias$"]),
}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def network(policy: Freeze, name: str = "test_resnet") -> Network:
    """BatchNorm, dropout and drop-path in the trunk."""
    backbone = g.TimmBackbone(name=name, kwargs={"drop_path_rate": 0.2, "zero_init_last": False})
    net = build(backbone, g.ScratchInit(), g.HeadCut(), policy, g.LinearHead(dropout=0.3), 3, 0, 32)[0]
    net.anatomy.chosen = (2,)
    return net


def step(net: Network, seed: int = 0) -> None:
    """One honest step over everything that has a gradient, with a rate at which whatever can move does."""
    torch.manual_seed(seed)
    net.train()
    loss = F.cross_entropy(net(torch.randn(6, 3, 32, 32)), torch.randint(0, 3, (6,)))
    net.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= (0.01 + 1e-3 * seed) * parameter.grad.sign()


@pytest.mark.parametrize("key", POLICIES)
def test_exactly_what_trains_has_gradients_and_the_rest_is_byte_equal(key: str) -> None:
    net = network(POLICIES[key])
    for phase in range(len(phases(POLICIES[key]))):
        start = {n: t.clone() for n, t in net.state_dict().items()}
        for epoch in range(6):
            net.set_epoch(epoch, phase)
            before = hashed(net.frozen_tensors())
            state = {n: t.clone() for n, t in net.state_dict().items()}
            for seed in range(3):
                step(net, seed=3 * epoch + seed)
            assert {n for n, p in net.named_parameters() if p.requires_grad} == net.trained
            assert {n for n, p in net.named_parameters() if p.grad is not None} == net.trained
            assert_unmoved(before, hashed(net.frozen_tensors()))
            moved = {n for n, t in net.state_dict().items() if not torch.equal(t, state[n])}
            assert moved & set(state) - set(before) == moved  # nothing that is frozen moved
        now = net.state_dict()
        assert not {n for n in net.trained if torch.equal(start[n], now[n])}  # and everything that trains did


@pytest.mark.parametrize("key", [k for k in POLICIES if k != "trunk"])
def test_statistics_of_a_batchnorm_move_exactly_where_it_trains(key: str) -> None:
    policy = type(POLICIES[key])(**{**vars(POLICIES[key]), "batch_statistics": "moving"})
    net = network(policy)
    net.set_epoch(5, len(phases(policy)) - 1)
    before = {n: t.clone() for n, t in net.state_dict().items() if n.endswith(STATISTICS)}
    step(net)
    for path, module in net.trunk.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            own = {f"trunk.{path}.weight", f"trunk.{path}.bias"}
            name = f"trunk.{path}.running_mean"
            assert torch.equal(before[name], module.running_mean) == (not own & net.trained), name


@pytest.mark.parametrize("key", [k for k in POLICIES if k != "trunk"])
def test_frozen_statistics_stay_while_the_weights_beside_them_train(key: str) -> None:
    policy = POLICIES[key]
    policy = type(policy)(**{**vars(policy), "batch_statistics": "frozen"})
    net = network(policy)
    net.set_epoch(5, len(phases(policy)) - 1)
    before = hashed({n: t for n, t in net.state_dict().items() if n.endswith(STATISTICS)})
    assert set(before) <= set(net.frozen_tensors())
    step(net)
    after = hashed({n: t for n, t in net.state_dict().items() if n.endswith(STATISTICS)})
    assert_unmoved(before, after)
    assert any(n.endswith("bn1.bias") for n in net.trained) or key in ("upto_stage", "upto_layer", "last", "surgical")


def test_without_the_guard_frozen_statistics_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above."""
    net = network(g.NoFreeze(batch_statistics="frozen"))
    before = hashed(net.frozen_tensors())
    monkeypatch.setattr(Network, "train", nn.Module.train)
    step(net)
    with pytest.raises(FrozenMovedError, match=r"running_mean"):
        assert_unmoved(before, hashed(net.frozen_tensors()))


def test_gradual_wakes_a_stage_at_a_time_from_the_head_down() -> None:
    net = network(g.GradualFreeze(every=2))
    counts = []
    for epoch in range(14):
        net.set_epoch(epoch)
        counts.append(len({net.anatomy.stage[n] for n in net.trained if n in net.anatomy.stage}))
    assert counts == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5]
    assert net.trained_in(2) - net.trained_in(0) == net.anatomy.last(1)


def test_state_is_a_function_of_the_epoch_whatever_came_before() -> None:
    net = network(g.GradualFreeze())
    straight = [net.trained_in(epoch) for epoch in range(8)]
    for epoch in (7, 0, 3, 3, 1, 6):
        net.set_epoch(epoch)
        assert net.trained == straight[epoch]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (g.UptoFreeze(stage=9), r"freeze\.stage=9 does not exist.*layer4"),
        (g.UptoFreeze(stage="layer9"), r"freeze\.stage=layer9 does not exist.*layer4"),
        (g.LastFreeze(stages=6), r"freeze\.stages=6 is more than the trunk has.*at most 5"),
        (g.PatternFreeze(train=["layer9"]), r"'layer9' matches no parameter.*layer"),
        (g.PatternFreeze(train=["("]), r"no regular expression"),
        (
            g.PatternFreeze(train=[]),
            r"nothing that trains: of the trunk, 0 trainable parameters; .*conv1\.0\.weight.*layer4",
        ),
        (g.SurgicalFreeze(stages=7), r"more than the trunk has"),
    ],
)
def test_a_policy_that_fits_nothing_says_what_there_is(policy: Freeze, said: str) -> None:
    net = network(g.NoFreeze())
    net.freeze = policy
    with pytest.raises(InputError, match=said):
        net.set_epoch(0, len(phases(policy)) - 1)


def test_a_trunk_without_norms_says_so() -> None:
    with pytest.raises(InputError, match="no normalisation layers"):
        build(g.TimmBackbone(name="vgg11"), g.ScratchInit(), g.StageCut(stage=0),
              g.NormFreeze(), g.LinearHead(), 3, 0, 32)  # fmt: skip
