"""Heads: every kind on every pooling of every layout, its formula, its start, and what a saved one says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tlx.config.groups import CosineHead, HeadCut, LinearHead, MlpHead, ScratchInit, StageCut, TimmBackbone, TrunkFreeze
from tlx.errors import InputError
from tlx.network import model_folder
from tlx.network import network as networks
from tlx.network.head import Head, HeadConfig

POOLS = ("auto", "avg", "max", "avgmax", "gem", "token", "attention")
HEADS: dict[str, HeadConfig] = {
    "linear": LinearHead(dropout=0.1),
    "mlp": MlpHead(hidden=[12, 8], dropout=0.1),
    "mlp-batch": MlpHead(hidden=[12], norm="batch"),
    "mlp-none": MlpHead(hidden=[12], norm="none"),
    "cosine": CosineHead(),
}
SWIN = {"img_size": 64, "window_size": 2, "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
TRUNKS: dict[str, tuple[TimmBackbone, int]] = {  # with the stage to cut at
    "maps": (TimmBackbone(name="test_resnet"), 2),
    "tokens": (TimmBackbone(name="test_vit"), 2),
    "normalised maps": (TimmBackbone(name="test_convnext"), 1),
    "channels last": (TimmBackbone(name="swin_tiny_patch4_window7_224", kwargs=SWIN), 1),
}
LAYOUTS = {"maps": "NCHW", "tokens": "NLC", "normalised maps": "NCHW", "channels last": "NHWC"}
SIZE = 64


def on_vectors(config: HeadConfig, width: int = 64, num_classes: int = 3, seed: int = 0) -> Head:
    return Head(config, "vector", 0, width, num_classes, seed)


def varied(config: HeadConfig, **changes: Any) -> Any:
    return type(config)(**{**vars(config), **changes})


@pytest.mark.parametrize("cut", ["head", "stage"])
@pytest.mark.parametrize("kind", ["linear", "mlp", "mlp-batch", "cosine"])
@pytest.mark.parametrize("trunk", TRUNKS)
def test_every_head_on_every_pooling_trains_and_comes_back(trunk: str, kind: str, cut: str, tmp_path: Path) -> None:
    backbone, stage = TRUNKS[trunk]
    at: Any = HeadCut() if cut == "head" else StageCut(stage=stage)
    images = torch.randn(5, 3, SIZE, SIZE)
    for number, pool in enumerate(POOLS):
        config = varied(HEADS[kind], pool=pool)
        if pool == "token" and (trunk, cut) != ("tokens", "head"):
            with pytest.raises(InputError, match="needs a class token"):
                networks.build(backbone, ScratchInit(), at, TrunkFreeze(), config, 4, 0, SIZE)
            continue
        network, seen, _ = networks.build(backbone, ScratchInit(), at, TrunkFreeze(), config, 4, 0, SIZE)
        layout = "NCHW" if cut == "stage" else "vector" if pool == "auto" else LAYOUTS[trunk]
        assert network.trunk.layout == layout
        head = network.head
        assert network.embed(images).shape == (5, head.width)
        assert (head.width, head.num_classes) == (network.trunk.width, 4)
        frozen = {name: tensor.clone() for name, tensor in network.trunk.state_dict().items()}
        start = {name: parameter.detach().clone() for name, parameter in head.named_parameters()}
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
        F.cross_entropy(network.train()(images), torch.tensor([0, 1, 2, 3, 0])).backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, (pool, name)
            assert parameter.grad.isfinite().all(), (pool, name)
            assert float(parameter.grad.abs().max()) > 0, (pool, name)
        optimizer.step()
        assert all(not torch.equal(start[name], parameter) for name, parameter in head.named_parameters())
        assert all(torch.equal(frozen[name], tensor) for name, tensor in network.trunk.state_dict().items())
        expected = network.eval()(images)
        folder = tmp_path / str(number)
        model_folder.save(folder, network, backbone, config, seen, list("abcd"))
        loaded = model_folder.load(folder)[0]
        assert torch.equal(loaded(images), expected), pool
        assert not torch.equal(loaded(images + 1), expected)


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_on_every_pooling_bears_mixed_precision(kind: str) -> None:
    for pool in POOLS:
        head = Head(varied(HEADS[kind], pool=pool), "NLC", 1, 64, 3, 0)
        features = torch.randn(4, 6, 64, dtype=torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            logits = head(features)
        plain = head.eval()(features.float())
        assert logits.isfinite().all()
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(head(features).float(), plain, rtol=0.05, atol=0.3 if kind == "cosine" else 0.05)
        F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 0])).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_only_a_linear_head_on_pooling_without_parameters_is_solvable() -> None:
    solvable = {
        (name, pool): Head(varied(HEADS[name], pool=pool), "NLC", 1, 8, 3, 0).solvable
        for name in HEADS
        for pool in POOLS
    }
    assert {pair for pair, yes in solvable.items() if yes} == {
        ("linear", pool) for pool in POOLS if pool not in ("gem", "attention")
    }


def test_what_is_new_is_said_in_words() -> None:
    def words(config: HeadConfig) -> str:
        return Head(config, "NCHW", 0, 8, 3, 0).words

    assert words(LinearHead()) == words(LinearHead(pool="max")) == "the new fully connected layer"
    assert words(LinearHead(pool="gem")) == "the new fully connected layer and its gem pooling"
    assert words(MlpHead(hidden=[4, 4])) == "the new head of 3 fully connected layers"
    assert words(CosineHead(pool="attention")) == "the new cosine classifier and its attention pooling"


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("pool", ["auto", "attention"])
def test_a_head_is_a_function_of_the_seed_alone(kind: str, pool: str) -> None:
    config = varied(HEADS[kind], pool=pool)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, same, other = (Head(config, "NLC", 0, 64, 3, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's draws change either
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name, tensor in one.items() if tensor.ndim > 1]
    assert len(drawn) == {"linear": 1, "mlp": 3, "mlp-batch": 2, "mlp-none": 2, "cosine": 1}[kind] + 6 * (
        pool != "auto"
    )
    assert not any(torch.equal(one[name], other[name]) for name in drawn)
    assert len({float(one[name].flatten()[0]) for name in drawn}) == len(drawn)


# linear


def test_the_layer_starts_small() -> None:
    layer = on_vectors(LinearHead(), 4000, 10, seed=1).linear
    assert abs(float(layer.weight.detach().std()) - 0.01) < 2e-4
    assert float(layer.bias.detach().abs().max()) == 0


def test_the_linear_heads_weights_are_those_of_earlier_versions() -> None:
    drawn = torch.empty(3, 64).normal_(0.0, 0.01, generator=torch.Generator().manual_seed(5))
    assert torch.equal(on_vectors(LinearHead(), seed=5).linear.weight, drawn)


@pytest.mark.parametrize("config", [LinearHead(dropout=0.5), MlpHead(hidden=[32], dropout=0.5)])
def test_dropout_acts_in_training_alone(config: HeadConfig) -> None:
    head = on_vectors(config)
    features = torch.randn(4, 64)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))
    assert torch.equal(head(features), head.classify(head.pool(features)))
    if isinstance(config, LinearHead):
        torch.testing.assert_close(head(features), features @ head.linear.weight.T)


# mlp


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 9), st.sampled_from(["layer", "batch", "none"])
)
@settings(max_examples=40, deadline=None)
def test_an_mlp_is_its_formula(hidden: list[int], width: int, norm: str) -> None:
    head = on_vectors(MlpHead(hidden=hidden, norm=norm, dropout=0.3), width).eval()
    with torch.no_grad():
        for tensor in (*head.parameters(), *head.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1.0)
    values = features = torch.randn(4, width)
    layers = [module for module in head.hidden.modules() if isinstance(module, nn.Linear)]
    norms: list[Any] = [m for m in head.hidden.modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm1d)]
    assert [layer.out_features for layer in layers] == hidden
    for k, layer in enumerate(layers):
        values = values @ layer.weight.T + (0 if norm == "batch" else layer.bias)
        if norm == "layer":
            mean, variance = values.mean(1, keepdim=True), values.var(1, keepdim=True, correction=0)
            values = (values - mean) / (variance + 1e-5).sqrt() * norms[k].weight + norms[k].bias
        elif norm == "batch":
            deviation = (norms[k].running_var + 1e-5).sqrt()
            values = (values - norms[k].running_mean) / deviation * norms[k].weight + norms[k].bias
        values = 0.5 * values * (1 + torch.erf(values / math.sqrt(2)))
    expected = values @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-4)


def test_an_mlp_starts_with_the_variance_it_is_given() -> None:
    head = on_vectors(MlpHead(hidden=[2000, 1000]), 500)
    first, second = (module for module in head.hidden.modules() if isinstance(module, nn.Linear))
    assert float(first.weight.detach().std()) == pytest.approx(math.sqrt(2 / 500), rel=0.01)
    assert float(second.weight.detach().std()) == pytest.approx(math.sqrt(2 / 2000), rel=0.01)
    assert float(head.linear.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert all(float(m.bias.detach().abs().max()) == 0 for m in head.modules() if isinstance(m, nn.Linear))


def test_batchnorm_refuses_to_train_on_one_image() -> None:
    one = torch.randn(1, 64)
    head = on_vectors(MlpHead(norm="batch"))
    with pytest.raises(InputError, match=r"head.norm=batch cannot train on one image a batch; raise data.batch_size"):
        head(one)
    assert head.eval()(one).shape == (1, 3)
    assert on_vectors(MlpHead(norm="layer"))(one).shape == (1, 3)


# cosine


@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 5), st.floats(0.5, 100))
@settings(max_examples=40, deadline=None)
def test_cosine_logits_are_their_formula(count: int, width: int, num_classes: int, temperature: float) -> None:
    head = on_vectors(CosineHead(temperature=temperature), width, num_classes)
    features = torch.randn(count, width) * 10
    logits = head(features).detach()
    for n in range(count):
        for k in range(num_classes):
            x, w = features[n].tolist(), head.cosine.weight[k].tolist()
            cosine = sum(a * b for a, b in zip(x, w, strict=True)) / math.hypot(*x) / math.hypot(*w)
            assert float(logits[n, k]) == pytest.approx(temperature * cosine, rel=1e-3, abs=1e-3)
    assert float(logits.abs().max()) <= temperature * (1 + 1e-5)
    torch.testing.assert_close(head(features * 7), head(features))  # lengths say nothing


def test_the_temperature_stays_positive_whatever_is_learned() -> None:
    head = on_vectors(CosineHead(temperature=16.0))
    features = torch.randn(8, 64)
    assert float(head.cosine.log_temperature.detach().exp()) == pytest.approx(16.0)
    optimizer = torch.optim.SGD([head.cosine.log_temperature], lr=5.0)
    for _ in range(20):  # a loss that wants it below zero
        optimizer.zero_grad()
        (head(features) * head(features).detach().sign()).mean().backward()
        optimizer.step()
    scale = float(head.cosine.log_temperature.detach().exp())
    assert 0 < scale < 16


def test_cosine_weights_start_as_a_linear_heads() -> None:
    assert torch.equal(on_vectors(CosineHead(), seed=5).cosine.weight, on_vectors(LinearHead(), seed=5).linear.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_that_are_all_zero_stay_finite(dtype: torch.dtype) -> None:
    head = on_vectors(CosineHead())
    features = torch.zeros(2, 64, dtype=dtype, requires_grad=True)
    logits = head(features)
    assert float(logits.detach().abs().max()) == 0
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in (features, *head.parameters()))
