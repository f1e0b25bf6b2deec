"""Optimisation: every trained parameter is in one group, with the rate and the decay that were asked for."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tlx.config.groups import (
    SGD,
    AdamW,
    ConstantSchedule,
    CosineHead,
    CosineSchedule,
    EarlyCut,
    HeadCut,
    LinearHead,
    MlpHead,
    NoFreeze,
    ScratchInit,
    TimmBackbone,
    TrunkFreeze,
)
from tlx.learner.optimization import factor, fuses, make_optimizer, parameter_groups
from tlx.network.memory_format import lay_out
from tlx.network.network import Network, build

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
NAMES = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet_ln", "test_nfnet"]


def network(name: str = "test_resnet", freeze: TrunkFreeze | NoFreeze | None = None) -> Network:
    cut = HeadCut() if name != "test_convnext" else EarlyCut(keep=0.5)
    return build(TimmBackbone(name=name), ScratchInit(), cut, freeze or NoFreeze(), LinearHead(), 3, 0, 32)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("freeze", [TrunkFreeze(), NoFreeze()], ids=["trunk", "none"])
def test_groups_cover_exactly_what_trains(name: str, freeze: TrunkFreeze | NoFreeze) -> None:
    net = network(name, freeze)
    groups = parameter_groups(net, AdamW(), 3)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for n, p in net.named_parameters() if n in net.trained}
    assert len({group["name"] for group in groups}) == len(groups)


@pytest.mark.parametrize("name", NAMES)
def test_norms_biases_and_what_the_architecture_asks_for_are_not_decayed(name: str) -> None:
    net = network(name)
    groups = parameter_groups(net, AdamW(weight_decay=0.3), epochs=1)
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    spared = {f"trunk.model.{n}" for n in getattr(net.trunk.model, "no_weight_decay", set)()}
    for path, module in net.named_modules():
        for part, parameter in module.named_parameters(recurse=False):
            plain = isinstance(module, NORMS) or part == "bias" or f"{path}.{part}" in spared
            if plain:
                assert decay[id(parameter)] == 0.0, f"{path}.{part}"
            elif isinstance(module, nn.Linear | nn.Conv2d) and part == "weight":
                assert decay[id(parameter)] == 0.3, f"{path}.{part}"
    if name == "test_vit":
        assert decay[id(net.trunk.model.pos_embed)] == 0.0
    assert {0.0, 0.3} == set(decay.values())


def test_of_a_head_only_what_multiplies_features_is_decayed() -> None:
    def decayed(head: LinearHead | MlpHead | CosineHead) -> set[str]:
        cut, frozen = EarlyCut(keep=0.5), TrunkFreeze()
        net = build(TimmBackbone(name="test_vit"), ScratchInit(), cut, frozen, head, 3, 0, 32)[0]
        groups = parameter_groups(net, AdamW(weight_decay=0.3), epochs=1)
        mine = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        assert sum(len(group["params"]) for group in groups) == len(list(net.head.parameters()))
        return {name for name, p in net.head.named_parameters() if id(p) in mine}

    assert decayed(LinearHead(pool="gem")) == {"linear.weight"}
    assert decayed(CosineHead()) == {"cosine.weight"}
    assert decayed(MlpHead(hidden=[4, 4])) == {"hidden.0.weight", "hidden.4.weight", "linear.weight"}
    inside = {f"pool.attention.{name}.weight" for name in ("q", "kv", "proj", "mlp.fc1", "mlp.fc2")}
    assert decayed(CosineHead(pool="attention")) == {"cosine.weight", *inside}  # not the query itself


@pytest.mark.parametrize("config", [AdamW(lr=0.01, head_multiple=7.0), SGD(lr=0.01, head_multiple=7.0)])
def test_the_head_has_its_own_multiple_written_out(config: AdamW | SGD) -> None:
    net = network()
    optimizer = make_optimizer(parameter_groups(net, config, 1), config)
    head = {id(p) for p in net.head.parameters()}
    assert len(optimizer.param_groups) == 4
    for group in optimizer.param_groups:
        mine = {id(p) in head for p in group["params"]}
        assert mine == {group["name"].startswith("head/")}
        assert group["lr"] == pytest.approx(0.07 if mine == {True} else 0.01)


def test_optimizers_take_what_they_are_given() -> None:
    net = network(freeze=TrunkFreeze())
    adam = AdamW(betas=[0.8, 0.95])
    made = make_optimizer(parameter_groups(net, adam, 1), adam)
    assert isinstance(made, torch.optim.AdamW)
    assert made.param_groups[0]["betas"] == (0.8, 0.95)
    for momentum, nesterov in ((0.7, True), (0.0, False)):
        sgd = SGD(momentum=momentum, nesterov=True)  # without momentum there is no Nesterov, and torch says so
        made = make_optimizer(parameter_groups(net, sgd, 1), sgd)
        assert isinstance(made, torch.optim.SGD)
        assert (made.param_groups[0]["momentum"], made.param_groups[0]["nesterov"]) == (momentum, nesterov)


EPOCHS, STEPS = st.integers(1, 40), st.integers(1, 50)
WARMUP = st.one_of(st.just(0.0), st.floats(0.001, 5))


def test_values_of_the_cosine() -> None:
    schedule = CosineSchedule(warmup_epochs=1, final=0.1)
    values = [factor(schedule, step, 10, 5) for step in range(51)]
    assert values[:10] == pytest.approx([(s + 1) / 11 for s in range(10)])
    assert values[10] == 1.0
    assert values[30] == pytest.approx(0.55)
    assert values[20] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + 0.5**0.5))
    assert values[50] == pytest.approx(0.1)


@given(EPOCHS, STEPS, WARMUP, st.floats(0, 1))
def test_the_cosine_rises_to_one_and_falls_to_its_end(epochs: int, steps: int, warmup: float, final: float) -> None:
    schedule = CosineSchedule(warmup_epochs=warmup, final=final)
    values = [factor(schedule, step, steps, epochs) for step in range(steps * epochs + 1)]
    assert all(0 <= v <= 1 + 1e-12 for v in values)
    assert values[0] > 0 or final == 0
    turn = next((s for s in range(len(values)) if s >= warmup * steps), len(values))
    rising, falling = values[:turn], values[turn:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    if falling and steps * epochs - warmup * steps >= 1:
        assert falling[-1] == pytest.approx(final)
    assert factor(schedule, steps * epochs + 99, steps, epochs) == pytest.approx(
        final if steps * epochs + 99 >= warmup * steps else (steps * epochs + 100) / (warmup * steps + 1)
    )


@given(EPOCHS, STEPS, WARMUP)
def test_the_constant_warms_up_and_stays(epochs: int, steps: int, warmup: float) -> None:
    schedule = ConstantSchedule(warmup_epochs=warmup)
    values = [factor(schedule, step, steps, epochs) for step in range(steps * epochs + 1)]
    assert values == sorted(values)
    assert all(value == 1.0 for step, value in enumerate(values) if step >= warmup * steps)
    assert all(0 < value < 1 for step, value in enumerate(values) if step < warmup * steps)


@pytest.mark.parametrize("name", NAMES)
def test_layer_decay_is_baked_into_the_groups(name: str) -> None:
    """Deeper layers learn faster; the head is not decayed; every rate is base times a power of the decay."""
    net = network(name)
    config = AdamW(lr=0.01, layer_decay=0.5, head_multiple=3.0)
    groups = parameter_groups(net, config, 1)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    depth = net.anatomy.depth
    last = max(depth.values())
    for path, parameter in net.named_parameters():
        expected = 0.03 if path.startswith("head.") else 0.01 * 0.5 ** (last + 1 - depth[path])
        assert rates[id(parameter)] == pytest.approx(expected), path
    assert len({group["lr"] for group in groups}) == last + 2
    assert len({group["name"] for group in groups}) == len(groups)
    base = {group["name"]: group["lr"] for group in groups}
    optimizer = make_optimizer(groups, config)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 0.25)  # as the learner's schedule does
    assert {g["name"]: g["lr"] for g in optimizer.param_groups} == {n: 0.25 * rate for n, rate in base.items()}


@pytest.mark.parametrize("config", [AdamW(lr=0.01), SGD(lr=0.01)], ids=lambda c: c.kind)
@pytest.mark.parametrize("order", ["channels_last", "contiguous"])
def test_a_fused_step_is_the_plain_step(config: AdamW | SGD, order: str) -> None:
    """Also across a checkpoint, and where weights and gradients lie in memory channels last."""
    fused, plain = network(), network()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for net in (fused, plain):
        lay_out(net.trunk, order)

    def optimizers() -> list[torch.optim.Optimizer]:
        return [
            make_optimizer(parameter_groups(n, config, 1), config, fused=f) for n, f in ((fused, True), (plain, False))
        ]

    pair = optimizers()
    for step in range(4):
        if step == 2:
            states = [deepcopy(optimizer.state_dict()) for optimizer in pair]
            pair = optimizers()
            for optimizer, state in zip(pair, states, strict=True):
                optimizer.load_state_dict(state)
        fused.zero_grad()
        nn.functional.cross_entropy(fused(images), torch.arange(4) % 3).backward()
        for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
            other.grad = one.grad.clone()  # type: ignore[union-attr]
        for optimizer in pair:
            optimizer.step()
    assert [group["fused"] for group in pair[0].param_groups] == [True] * 4
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_steps_are_fused_where_gradients_are_not_scaled() -> None:
    assert fuses("cpu", "32-true")
    assert fuses("cuda", "bf16-mixed")
    assert not fuses("cuda", "16-mixed")
    assert not fuses("mps", "32-true")
