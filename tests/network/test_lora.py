"""Low-rank adapters over many families: nothing changes at first, everything adapted is used, and merging is exact."""

from __future__ import annotations

import copy
import re
from typing import Any, NamedTuple

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from tlx.config.groups import LoraFreeze
from tlx.errors import InputError
from tlx.network.lora import ADAPTED, LowRank, attach, is_adapter, merge

SMALL_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64}
# Families that differ in how they use a weight: standardised, padded at run time, read past the module's own forward,
# grouped, depthwise, transposed, one-dimensional, mixed by experts, shared, blurred, fused.
FAMILIES: dict[str, tuple[dict[str, Any], int]] = {
    "test_byobnet": ({}, 64),
    "test_coatnet": ({}, 160),
    "test_convnext": ({}, 64),
    "test_efficientnet": ({}, 64),
    "test_efficientnet_evos": ({}, 64),
    "test_mambaout": ({}, 64),
    "test_maxvit": ({}, 160),
    "test_nfnet": ({}, 64),
    "test_resnet": ({}, 64),
    "test_vit": ({}, 64),
    "test_vit_relpos": ({}, 160),
    "beit_base_patch16_224": (SMALL_VIT, 64),
    "eva02_tiny_patch14_224": ({**SMALL_VIT, "img_size": 56}, 56),
    "eva_giant_patch14_224": ({**SMALL_VIT, "img_size": 56}, 56),
    "cait_xxs24_224": (SMALL_VIT, 64),
    "xcit_nano_12_p16_224": (SMALL_VIT, 64),
    "swin_tiny_patch4_window7_224": (
        {"img_size": 64, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4},
        64,
    ),
    "swinv2_tiny_window8_256": (
        {"img_size": 64, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4},
        64,
    ),
    "hiera_tiny_224": ({"img_size": 64, "embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1, 1)}, 64),
    "coat_lite_tiny": ({"img_size": 64}, 64),
    "davit_tiny": ({"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "num_heads": (1, 1, 2, 2)}, 64),
    "resnetv2_50": ({"layers": (1, 1, 1, 1), "channels": (32, 32, 64, 64), "stem_chs": 16}, 64),
    "densenet121": ({"block_config": (1, 1, 1, 1), "growth_rate": 8}, 64),
    "tf_mobilenetv3_small_minimal_100": ({}, 64),
    "efficientnet_cc_b0_4e": ({}, 64),
    "ghostnet_050": ({}, 64),
    "edgenext_xx_small": ({}, 64),
    "efficientvim_m1": ({}, 64),
    "lowformer_b0": ({}, 64),
    "resnetblur18": ({}, 64),
    "ecaresnet50t": ({"layers": (1, 1, 1, 1)}, 64),
}
RANK = LoraFreeze(rank=4, alpha=8)


def created(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, num_classes=3, **FAMILIES[name][0])
    return model.to(memory_format=torch.channels_last).eval()


class Family(NamedTuple):
    name: str
    plain: nn.Module
    adapted: nn.Module  # attached, as it starts
    moved: nn.Module  # attached, and away from its start
    paths: list[str]
    images: torch.Tensor
    logits: torch.Tensor  # of the plain model


def move(model: nn.Module) -> nn.Module:
    """Put every B where a training might have put it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name) and name.endswith(".b"):
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    plain = created(request.param)
    adapted = copy.deepcopy(plain)
    paths = attach(adapted, RANK, seed=0)
    size = FAMILIES[request.param][1]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = plain(images)
    return Family(request.param, plain, adapted, move(copy.deepcopy(adapted)), paths, images, logits)


def test_nothing_changes_at_first_bit_for_bit(family: Family) -> None:
    modules = family.plain.named_modules(remove_duplicate=False)  # CoaT has one convolution at many places
    assert sorted(family.paths) == sorted(path for path, module in modules if isinstance(module, ADAPTED))
    with torch.no_grad():
        assert torch.equal(family.adapted(family.images), family.logits)
        assert not torch.equal(family.moved(family.images), family.logits)  # or the line above could not fail
    for path in family.paths:
        before, after = family.plain.get_submodule(path).weight, family.adapted.get_submodule(path).weight
        assert torch.equal(before, after), path
        assert before.stride() == after.stride(), path


def test_every_adapter_is_used_where_its_weight_was(family: Family) -> None:
    plain, moved = copy.deepcopy(family.plain), copy.deepcopy(family.moved)
    plain(family.images).square().sum().backward()
    for name, parameter in moved.named_parameters():
        parameter.requires_grad_(is_adapter(name))
    moved(family.images).square().sum().backward()
    used = {id(p) for p in plain.parameters() if p.grad is not None}
    for path in family.paths:
        mine: Any = moved.get_submodule(path).parametrizations["weight"]
        assert mine.original.grad is None
        expected = id(plain.get_submodule(path).weight) in used
        assert [mine[0].a.grad is not None, mine[0].b.grad is not None] == [expected, expected], path
    assert len(used) > 4


def test_a_merged_network_says_the_same_and_fits_the_plain_one(family: Family) -> None:
    merged = copy.deepcopy(family.moved)
    merge(merged)
    plain = copy.deepcopy(family.plain)
    assert set(merged.state_dict()) == set(plain.state_dict())
    assert {type(m) for m in merged.modules()} == {type(m) for m in plain.modules()}
    plain.load_state_dict(merged.state_dict())
    with torch.no_grad():
        expected = family.moved(family.images)
        torch.testing.assert_close(merged(family.images), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(plain(family.images), expected, rtol=1e-5, atol=1e-5)
    for path in family.paths:
        assert merged.get_submodule(path).weight.stride() == family.plain.get_submodule(path).weight.stride()
    with torch.no_grad():
        assert torch.equal(family.moved(family.images), expected)  # what the copy was taken from is as it was


def test_the_state_goes_into_a_freshly_attached_copy(family: Family) -> None:
    fresh = copy.deepcopy(family.plain)
    attach(fresh, RANK, seed=7)
    state = family.moved.state_dict()
    assert sum(is_adapter(name) for name in state) == 2 * len(family.paths)
    fresh.load_state_dict(state)
    with torch.no_grad():
        expected = family.moved(family.images)
        assert torch.equal(fresh(family.images), expected)
        for name, parameter in fresh.named_parameters():
            if is_adapter(name):
                parameter.zero_()
        assert torch.equal(fresh(family.images), family.logits)  # a copy moved; what it was copied from did not
        assert torch.equal(family.moved(family.images), expected)


LAYERS = [
    nn.Linear(6, 5),
    nn.Conv1d(6, 8, 3, groups=2),
    nn.Conv2d(6, 8, 3),
    nn.Conv2d(8, 8, 3, groups=4),
    nn.Conv2d(16, 16, 3, groups=16),  # depthwise
    nn.Conv3d(4, 6, 2),
    nn.ConvTranspose2d(6, 4, 3, groups=2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{type(layer).__name__}{getattr(layer, 'groups', '')}")
def test_the_product_is_added_to_the_weight_as_a_matrix(layer: nn.Module) -> None:
    layer = copy.deepcopy(layer)
    weight = layer.weight.detach().clone()
    assert attach(layer, LoraFreeze(rank=2, alpha=3), seed=0) == [""]
    move(layer)
    a, b = (dict(layer.named_parameters())[f"parametrizations.weight.0.{which}"] for which in "ab")
    assert a.shape == (2, weight[0].numel())
    assert b.shape == (len(weight), 2)
    assert float(a.detach().abs().max()) <= a.shape[1] ** -0.5
    naive = weight.clone()
    for row in range(len(weight)):
        for k in range(2):
            naive[row] += 3 / 2 * b[row, k] * a[k].reshape(weight[0].shape)
    torch.testing.assert_close(layer.weight, naive)
    matrix = (layer.weight - weight).detach().flatten(1)
    assert torch.linalg.matrix_rank(matrix, rtol=1e-4) == 2


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 64))
def test_an_adapter_never_holds_more_numbers_than_its_weight(rows: int, columns: int, rank: int) -> None:
    adapter = LowRank(torch.zeros(rows, columns), rank, alpha=8.0, seed=0)
    given_rank = len(adapter.a)
    assert 1 <= given_rank <= min(rank, rows, columns)
    assert given_rank == 1 or adapter.a.numel() + adapter.b.numel() <= rows * columns
    assert given_rank == rank or (given_rank + 1) * (rows + columns) > rows * columns  # no less than could be
    assert adapter.scale == 8.0 / given_rank


def test_a_depthwise_convolution_of_64_channels_gets_rank_7() -> None:
    assert len(LowRank(nn.Conv2d(64, 64, 3, groups=64).weight, 8, 16, 0).a) == 7


class Tied(nn.Module):
    """Two layers with one weight, and one layer at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.blocks = nn.ModuleList([nn.Linear(4, 4)] * 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[1](self.blocks[0](self.second(self.first(x))))


@pytest.mark.parametrize("pattern", ["second", "first|blocks", "."])
def test_modules_that_share_a_weight_share_its_adapter(pattern: str) -> None:
    torch.manual_seed(0)
    plain = Tied()
    model = copy.deepcopy(plain)
    paths = attach(model, LoraFreeze(rank=2, alpha=2, pattern=[pattern]), seed=0)
    assert {"first", "second"} <= set(paths)
    assert ("blocks.1" in paths) == (pattern != "second")
    move(model)
    assert torch.equal(model.first.weight, model.second.weight)
    assert not torch.equal(model.first.weight, plain.first.weight)
    x = torch.randn(3, 4)
    expected = model(x)
    twice = copy.deepcopy(model)
    merge(model)
    torch.testing.assert_close(model(x), expected)
    assert model.first.weight is model.second.weight
    assert set(model.state_dict()) == set(plain.state_dict())
    # What merge must not do: bake one module after the other into the weight that they share.
    for module in (twice.first, twice.second):
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    assert not torch.allclose(twice.first.weight, model.first.weight)


def test_a_start_is_a_function_of_the_seed_and_the_path() -> None:
    def start(seed: int, pattern: str = ".") -> dict[str, torch.Tensor]:
        model = created("test_vit")
        attach(model, LoraFreeze(pattern=[pattern]), seed)
        return {n: p for n, p in model.named_parameters() if is_adapter(n) and n.endswith(".a")}

    whole, same, other, part = start(0), start(0), start(1), start(0, r"attn\.qkv")
    assert all(torch.equal(whole[n], same[n]) and not torch.equal(whole[n], other[n]) for n in whole)
    assert 0 < len(part) < len(whole)
    assert all(torch.equal(whole[n], part[n]) for n in part)
    blocks = [p for n, p in part.items() if n.startswith("blocks")]
    assert not torch.equal(blocks[0], blocks[1])


def test_a_pattern_is_searched_for_in_paths() -> None:
    model = created("test_vit")
    paths = attach(model, LoraFreeze(pattern=[r"attn\.qkv$", "^patch_embed"]), seed=0)
    assert paths == ["patch_embed.proj", *(f"blocks.{i}.attn.qkv" for i in range(len(model.blocks)))]
    assert {n.split(".parametrizations")[0] for n, _ in model.named_parameters() if is_adapter(n)} == set(paths)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["blocks", "qkw"],
            r"freeze\.pattern: 'qkw' matches no linear layer or convolution; .*one of: patch_embed\.proj",
        ),
        (["norm1"], "'norm1' matches no linear layer"),
        (["(qkv"], r"'\(qkv' is no regular expression"),
    ],
)
def test_a_pattern_that_fits_nothing_is_told_and_nothing_is_attached(patterns: list[str], message: str) -> None:
    model = created("test_vit")
    before = list(model.state_dict())
    with pytest.raises(InputError, match=message):
        attach(model, LoraFreeze(pattern=patterns), seed=0)
    assert list(model.state_dict()) == before


def test_adapters_are_told_by_their_names() -> None:
    model = created("test_resnet")
    plain = {n for n, _ in model.named_parameters()}
    paths = attach(model, RANK, seed=0)
    names = {n for n, _ in model.named_parameters()}
    originals = {re.sub(r"parametrizations\.(\w+)\.original$", r"\1", n) for n in names if not is_adapter(n)}
    assert originals == plain
    assert {n for n in names if is_adapter(n)} == {f"{p}.parametrizations.weight.0.{w}" for p in paths for w in "ab"}
    assert is_adapter("parametrizations.weight.0.a")
    assert not any(map(is_adapter, ["parametrizations.weight.original", "x.weight", "x.parametrizations.weight.0.ab"]))


def test_a_second_attach_finds_nothing_left() -> None:
    model = created("test_vit")
    attach(model, LoraFreeze(pattern=["qkv"]), seed=0)
    with pytest.raises(InputError, match="'qkv' matches no"):
        attach(model, LoraFreeze(pattern=["qkv"]), seed=0)


@pytest.mark.parametrize("name", ["test_vit", "test_nfnet", "beit_base_patch16_224", "test_convnext"])
def test_under_autocast_the_adapted_network_is_the_merged_one(name: str) -> None:
    model = created(name)
    attach(model, RANK, seed=0)
    move(model)
    images = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
        logits.float().square().sum().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if is_adapter(n)}
    assert all(g is not None and g.dtype == torch.float32 and bool(g.isfinite().all()) for g in grads.values())
    merge(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(images), logits)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_adapter_has_its_weights_type(dtype: torch.dtype) -> None:
    model = created("test_vit").to(dtype)
    attach(model, RANK, seed=0)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert model(torch.randn(1, 3, 64, 64, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("trains", [True, False])
def test_merging_leaves_a_weight_as_awake_as_it_was(trains: bool) -> None:
    model = created("test_vit").requires_grad_(trains)
    attach(model, LoraFreeze(pattern=["qkv"]), seed=0)
    move(model)
    model.eval().requires_grad_(not trains).requires_grad_(trains)
    merge(model)
    assert {p.requires_grad for p in model.parameters()} == {trains}


def test_adapters_alone_learn_and_the_weights_stay() -> None:
    model = created("test_convnext").train()
    attach(model, LoraFreeze(rank=4, pattern=["stages"]), seed=0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_adapter(name))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    images, labels = torch.randn(6, 3, 64, 64), torch.tensor([0, 1, 2] * 2)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    moved = {n for n, p in model.named_parameters() if not torch.equal(before[n], p)}
    assert moved == {n for n in before if is_adapter(n)}
