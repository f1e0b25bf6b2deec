"""Pooling: every kind in every layout against naive formulas, and whose pooling it is at every cut."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlx.config.groups import HeadCut, LayerCut, StageCut, TimmBackbone
from tlx.errors import InputError
from tlx.network import pool as pooling
from tlx.network.backbone import create
from tlx.network.cut import cut_at, probe
from tlx.network.pool import EXPONENTS, SMALLEST, GeM, Pool, cut_for

LAYOUTS = ("NCHW", "NHWC", "NLC")
KINDS = ("auto", "avg", "max", "avgmax", "gem", "attention")
SIZE = 64


def laid_out(tokens: torch.Tensor, layout: str, height: int, prefix: int = 0) -> torch.Tensor:
    """Lay patches (N, H * W, D) out as a trunk would, with noise for what stands before them."""
    count, length, width = tokens.shape
    if layout == "NLC":
        return torch.cat([torch.randn(count, prefix, width) * 100, tokens], 1)
    maps = tokens.reshape(count, height, length // height, width)
    return maps.permute(0, 3, 1, 2).contiguous() if layout == "NCHW" else maps


def naive(kind: str, vectors: list[float]) -> float:
    """Pool one feature over the positions, in plain Python."""
    mean, most = sum(vectors) / len(vectors), max(vectors)
    if kind == "gem":
        return (sum(max(v, SMALLEST) ** 3.0 for v in vectors) / len(vectors)) ** (1 / 3.0)
    return {"auto": mean, "avg": mean, "max": most, "avgmax": (mean + most) / 2}[kind]


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))


@given(SHAPES, st.sampled_from(LAYOUTS), st.integers(0, 3), st.sampled_from(KINDS[:-1]), st.integers(0, 999))
@settings(deadline=None)
def test_every_kind_is_its_formula_in_every_layout(
    shape: tuple[int, int, int, int], layout: str, prefix: int, kind: str, seed: int
) -> None:
    count, height, across, width = shape
    tokens = torch.randn(count, height * across, width, generator=torch.Generator().manual_seed(seed)) * 3
    pooled = Pool(layout, prefix, kind, width)(laid_out(tokens, layout, height, prefix))
    assert pooled.shape == (count, width)
    expected = [[naive(kind, tokens[n, :, d].tolist()) for d in range(width)] for n in range(count)]
    torch.testing.assert_close(pooled, torch.tensor(expected), rtol=2e-5, atol=1e-5)


@given(SHAPES, st.sampled_from(LAYOUTS), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_attention_is_its_formula_in_every_layout(shape: tuple[int, int, int, int], layout: str, prefix: int) -> None:
    count, height, across, width = shape
    width *= 64  # one head for every 64 features
    pool = Pool(layout, prefix, "attention", width, seed=1)
    inner: Any = pool.attention
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    tokens = torch.randn(count, height * across, width)
    weight, bias = inner.kv.weight, inner.kv.bias
    query = inner.latent[0, 0] @ inner.q.weight.T + inner.q.bias
    expected = torch.zeros(count, width)
    for n in range(count):
        keys, values = tokens[n] @ weight[:width].T + bias[:width], tokens[n] @ weight[width:].T + bias[width:]
        for part in torch.arange(width).split(64):
            share = torch.softmax(keys[:, part] @ query[part] / 8, 0)
            expected[n, part] = share @ values[:, part]
    attended = expected @ inner.proj.weight.T + inner.proj.bias
    normed = nn.functional.layer_norm(attended, (width,), inner.norm.weight, inner.norm.bias)
    between = nn.functional.gelu(normed @ inner.mlp.fc1.weight.T + inner.mlp.fc1.bias)
    expected = attended + between @ inner.mlp.fc2.weight.T + inner.mlp.fc2.bias
    torch.testing.assert_close(pool(laid_out(tokens, layout, height, prefix)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "heads"), [(1, 1), (24, 1), (96, 1), (130, 2), (384, 6), (512, 8), (257, 1)])
def test_the_heads_of_the_attention_divide_the_width(width: int, heads: int) -> None:
    pool: Any = Pool("NLC", 0, "attention", width)
    assert pool.attention.num_heads == heads
    assert pool(torch.randn(2, 3, width)).shape == (2, width)


def test_at_first_the_attention_is_nearly_even() -> None:
    pool: Any = Pool("NLC", 0, "attention", 256, seed=3)
    tokens = torch.randn(4, 9, 256, generator=torch.Generator().manual_seed(0))
    keys = pool.attention.kv(tokens)[..., :256].reshape(4, 9, 4, 64)
    query = pool.attention.q(pool.attention.latent)[0, 0].reshape(4, 64)
    shares = torch.softmax(torch.einsum("nlhd,hd->nlh", keys, query) / 8, 1).detach()
    assert float((shares - 1 / 9).abs().max()) < 0.04


def test_the_class_token_is_the_first_of_the_prefix() -> None:
    features = torch.randn(2, 7, 5)
    assert torch.equal(Pool("NLC", 3, "token")(features), features[:, 0])


def test_vectors_pass_as_they_are_and_nothing_else_can_pool_them() -> None:
    features = torch.randn(2, 5)
    assert torch.equal(Pool("vector", 0)(features), features)
    for kind in (*KINDS[1:], "token"):
        with pytest.raises(
            InputError, match=rf"head\.pool={kind} .* pooled itself; choose head.pool=auto, or cut .*stage"
        ):
            Pool("vector", 1, kind, 5)


@pytest.mark.parametrize(("layout", "prefix"), [("NLC", 0), ("NCHW", 1), ("NHWC", 1)])
def test_no_class_token_is_told(layout: str, prefix: int) -> None:
    with pytest.raises(InputError, match="needs a class token"):
        Pool(layout, prefix, "token", 5)


@pytest.mark.parametrize("kind", [*KINDS, "token"])
def test_only_gem_and_attention_learn(kind: str) -> None:
    assert Pool("NLC", 1, kind, 8).learned == (kind in ("gem", "attention"))


def test_the_attention_is_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(0)
    one, same, other = (Pool("NLC", 0, "attention", 64, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    weights = [name for name in one if "norm" not in name and not name.endswith("bias")]
    assert len(weights) == 6
    for name in weights:
        assert not torch.equal(one[name], other[name])
        assert abs(float(one[name].std()) - 1 / 8) < (0.05 if name.endswith("latent") else 0.01)
    assert all(float(one[name].abs().max()) == 0 for name in one if name.endswith("bias"))


# GeM


def powers(features: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """The formula as the paper writes it."""
    return features.clamp(min=SMALLEST).pow(p).mean((2, 3)).pow(1 / p)


def test_gem_has_the_gradients_of_its_formula() -> None:
    features = (torch.randn(2, 3, 4, 4, dtype=torch.float64) + 0.5).requires_grad_()
    p = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, dtype=torch.float64)
    expected = torch.autograd.grad((powers(features, p) * weights).sum(), [features, p])
    gem = GeM()
    single = features.detach().float().requires_grad_()
    got = torch.autograd.grad((gem(single, (2, 3)) * weights.float()).sum(), [single, gem.p])
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-5)
    assert float(got[1].abs()) > 0


def test_gem_goes_from_the_average_to_the_maximum() -> None:
    features = torch.rand(2, 3, 4, 4) + 0.1
    gem = GeM()
    values = []
    for p in (-5.0, 1.0, 3.0, 10.0, 99.0):
        with torch.no_grad():
            gem.p.fill_(p)
        values.append(gem(features, (2, 3)))
    torch.testing.assert_close(values[1], features.mean((2, 3)))
    assert torch.equal(values[0], values[1])  # clamped to [1, 10]
    assert torch.equal(values[3], values[4])
    assert (values[1] < values[2]).all()
    assert (values[2] < values[3]).all()
    assert (values[3] <= features.amax((2, 3))).all()
    assert EXPONENTS == (1.0, 10.0)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("p", [1.0, 3.0, 10.0])
def test_gem_stays_finite_for_any_features(scale: float, p: float) -> None:
    gem = GeM()
    with torch.no_grad():
        gem.p.fill_(p)
    features = (torch.randn(2, 3, 4, 4) * scale).requires_grad_()
    pooled = gem(features, (2, 3))
    (pooled / scale).sum().backward()
    assert pooled.isfinite().all()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert gem.p.grad is not None
    assert gem.p.grad.isfinite().all()
    assert (features.grad[features < 0] == 0).all()
    if scale == 1e30 and p > 1:  # the negative control: the formula as it is written does not
        assert not powers(features, gem.p).isfinite().all()


def test_gem_of_negative_features_is_the_smallest() -> None:
    pooled = Pool("NLC", 0, "gem", 4)(-torch.rand(2, 3, 4) - 0.1)
    torch.testing.assert_close(pooled, torch.full((2, 4), SMALLEST))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gem_keeps_a_shorter_type_and_counts_in_float32(dtype: torch.dtype) -> None:
    features = torch.rand(2, 3, 8, 8) * 60
    pooled = GeM()(features.to(dtype), (2, 3))  # 60 ** 3 is no half
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), GeM()(features, (2, 3)), rtol=1e-2, atol=1e-2)


# Whose pooling it is


def model(name: str, size: int = SIZE, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    return create(TimmBackbone(name=name, kwargs=kwargs), size).model.eval()


def pooled(whole: nn.Module, cut: Any, kind: str, size: int = SIZE) -> torch.Tensor:
    trunk, kind = cut_for(kind, whole, cut, size)
    return Pool(trunk.layout, trunk.prefix, kind, trunk.width)(probe(trunk, size))


def own(whole: nn.Module, size: int = SIZE) -> torch.Tensor:
    """What the backbone's own classifier reads."""
    return probe(whole, size)


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_convnext", "test_mambaout", "test_vit3", "test_vit4"]
)
def test_auto_is_the_backbones_own_pooling_behind_all_of_it(name: str) -> None:
    assert torch.equal(pooled(model(name), HeadCut(), "auto"), own(model(name)))


def test_the_same_pooling_taken_over_gives_the_same_features() -> None:
    torch.testing.assert_close(pooled(model("test_resnet"), HeadCut(), "avg"), own(model("test_resnet")))
    assert model("test_vit").global_pool == "token"
    assert torch.equal(pooled(model("test_vit"), HeadCut(), "token"), own(model("test_vit")))
    assert not torch.allclose(pooled(model("test_vit"), HeadCut(), "avg"), own(model("test_vit")))


def test_auto_reads_the_class_token_at_the_last_layer_where_the_classifier_does() -> None:
    assert torch.equal(pooled(model("test_vit"), LayerCut(name="norm"), "auto"), own(model("test_vit")))
    # Before the last norm there is more to come: the average of the patches, as at any other layer.
    block = cut_at(model("test_vit"), LayerCut(name="blocks.5"), SIZE)
    expected = probe(block, SIZE)[:, 1:].mean(1)
    assert torch.equal(pooled(model("test_vit"), LayerCut(name="blocks.5"), "auto"), expected)
    # A classifier that averages does so here too.
    averaging = {"global_pool": "avg", "final_norm": True, "fc_norm": False}
    torch.testing.assert_close(
        pooled(model("test_vit", **averaging), LayerCut(name="norm"), "auto"), own(model("test_vit", **averaging))
    )


def test_prefix_tokens_are_no_part_of_the_image() -> None:
    whole = model("test_vit", reg_tokens=2)
    features = probe(cut_for("avg", whole, HeadCut(), SIZE)[0], SIZE)
    assert features.shape == (1, 3 + 16, 64)
    for kind in ("avg", "max", "avgmax", "gem", "attention"):
        noisy = torch.cat([torch.randn(1, 3, 64), features[:, 3:]], 1)
        pool = Pool("NLC", 3, kind, 64)
        assert torch.equal(pool(noisy), pool(features)), kind


def test_a_token_is_refused_where_no_class_token_stands() -> None:
    registers = {"class_token": False, "reg_tokens": 2, "global_pool": "avg"}
    for whole, cut in (
        (model("test_resnet"), HeadCut()),
        (model("test_vit"), StageCut(stage=2)),
        (model("test_vit_relpos"), HeadCut()),
        (model("test_vit", **registers), HeadCut()),
        (model("test_vit", **registers), LayerCut(name="blocks.1")),
        (model("test_mambaout"), LayerCut(name="stages.1.blocks.0")),
    ):
        with pytest.raises(InputError, match="needs a class token, and the features at this cut hold none; choose"):
            cut_for("token", whole, cut, SIZE)
    assert cut_for("token", model("test_vit"), LayerCut(name="blocks.1"), SIZE)[1] == "token"


def test_a_class_token_that_joins_later_is_not_taken_for_there() -> None:
    """ConViT announces a prefix token, and adds it behind its first ten blocks."""
    small = {"embed_dim": 4, "num_heads": 4, "depth": 3, "local_up_to_layer": 2}
    assert model("convit_tiny", 224, **small).num_prefix_tokens == 1
    with pytest.raises(InputError, match="needs a class token"):
        cut_for("token", model("convit_tiny", 224, **small), LayerCut(name="blocks.0"), 224)
    assert cut_for("auto", model("convit_tiny", 224, **small), LayerCut(name="norm"), 224)[1] == "token"


def test_looking_for_the_class_token_leaves_the_weights_alone() -> None:
    whole = model("test_vit")
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    cut_for("token", whole, HeadCut(), SIZE)
    assert all(torch.equal(before[name], tensor) for name, tensor in whole.state_dict().items())


KEEPERS = [
    ("inception_next_atto", SIZE, {"depths": (1, 1, 1, 1)}),  # refuses to go without
    ("efficientvit_b0", SIZE, {}),
    ("coat_tiny", 224, {}),  # a list of maps
    ("pit_ti_224", 224, {}),  # hands over its class token alone
    ("volo_d1_224", 224, {}),  # its class token is not announced
]


@pytest.mark.parametrize(("name", "size", "kwargs"), KEEPERS)
def test_a_backbone_that_keeps_its_own_pooling_is_told(name: str, size: int, kwargs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"keeps its own pooling; choose head.pool=auto, or cut before .*cut=stage"):
        cut_for("gem", model(name, size, **kwargs), HeadCut(), size)


class Liar(nn.Module):
    """Says that it goes without pooling, and does something else."""

    num_features = 4

    def __init__(self, lie: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.lie = lie
        self.feature_info = [{"module": "stem", "num_chs": 4, "reduction": 1}]
        self.pooling = "avg"

    def reset_classifier(self, num_classes: int, global_pool: str) -> None:
        self.pooling = global_pool

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.stem(images)  # type: ignore[no-any-return]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.forward_features(images)
        if self.pooling or self.lie == "pools":
            return maps.mean((2, 3))
        if self.lie == "shrinks":
            return maps.mean((2, 3), keepdim=True)
        return torch.cat([maps, maps], 1) if self.lie == "widens" else maps


@pytest.mark.parametrize("lie", ["pools", "shrinks", "widens"])
def test_the_proof_notices_a_backbone_that_pools_all_the_same(lie: str) -> None:
    with pytest.raises(InputError, match="keeps its own pooling"):
        cut_for("max", Liar(lie), HeadCut(), 8)
    assert cut_for("max", Liar(""), HeadCut(), 8)[0].shape == (4, 8, 8)


def test_without_the_proof_a_shrunken_map_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the count of positions."""
    monkeypatch.setattr(pooling, "_places", lambda trunk: 1)
    assert math.prod(cut_for("max", Liar("shrinks"), HeadCut(), 8)[0].shape) == 4


def test_an_image_size_that_does_not_fit_is_told_as_such() -> None:
    with pytest.raises(InputError, match="cannot take images of 33 pixels"):
        cut_for("gem", model("test_vit", 64), HeadCut(), 33)
