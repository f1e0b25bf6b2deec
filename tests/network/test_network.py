"""The network as a whole: assembled, described, saved as plain data and built again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tlx.config.groups import (
    EarlyCut,
    HeadCut,
    LayerCut,
    LinearHead,
    NoFreeze,
    ScratchInit,
    StageCut,
    TimmBackbone,
    TrunkFreeze,
)
from tlx.errors import InputError
from tlx.network import model_folder
from tlx.network import network as networks
from tlx.network.cut import layers
from tlx.network.network import Network, Surgery
from tlx.preprocessing import Preprocessing

SIZE = 64
CASES = [
    ("test_resnet", HeadCut()),
    ("test_resnet", EarlyCut(keep=0.5)),
    ("test_resnet", LayerCut(name="bn1")),
    ("test_efficientnet", StageCut(stage=2)),
    ("test_convnext", LayerCut(name="stages.1.blocks.0")),
    ("test_vit", HeadCut()),
    ("test_vit", StageCut(stage=2)),
    ("test_vit", LayerCut(name="blocks.1")),
    ("test_mambaout", LayerCut(name="stages.1.blocks.0")),
    ("test_maxvit", StageCut(stage=1)),
    ("test_byobnet", StageCut(stage="stages.1")),
    ("test_nfnet", StageCut(stage=1)),
]


def build(
    name: str, cut: Any, seed: int = 0, freeze: Any = None, kwargs: Any = None, size: int = SIZE, head: Any = None
) -> tuple[Network, Preprocessing, Surgery]:
    backbone = TimmBackbone(name=name, kwargs=kwargs)
    return networks.build(backbone, ScratchInit(), cut, freeze or TrunkFreeze(), head or LinearHead(), 3, seed, size)


@pytest.mark.parametrize(("name", "cut"), CASES)
def test_saved_and_loaded_again_it_says_the_same(name: str, cut: Any, tmp_path: Path) -> None:
    network, seen, _ = build(name, cut)
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        network.train()(images + 1)
        network.head.linear.weight.normal_()
    expected = network.eval()(images)
    model_folder.save(tmp_path / "model", network, TimmBackbone(name=name), LinearHead(), seen, ["a", "ü b", "c"])
    loaded, seen_again, classes, _ = model_folder.load(tmp_path / "model")
    assert torch.equal(loaded(images), expected)
    assert (seen_again, classes) == (seen, ["a", "ü b", "c"])
    assert not loaded.training
    assert loaded.trunk_frozen
    state = loaded.state_dict()
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(state[n], t) for n, t in network.state_dict().items())
    assert loaded.trunk.point == network.trunk.point


def test_what_is_saved_is_plain(tmp_path: Path) -> None:
    kwargs = {"channels": [8, 8, 16, 16]}
    network, seen, _ = build("test_resnet", HeadCut(), kwargs=kwargs)
    model_folder.save(
        tmp_path / "m", network, TimmBackbone(name="test_resnet", kwargs=kwargs), LinearHead(), seen, list("abc")
    )
    plain = json.loads((tmp_path / "m" / "network.json").read_text())
    assert plain["format"] == model_folder.FORMAT
    assert plain["backbone"] == {"name": "test_resnet", "kwargs": kwargs}
    assert "_target_" not in json.dumps(plain)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["network.json", "weights.safetensors"]
    assert model_folder.load(tmp_path / "m")[0].trunk.width == 16


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda plain: {}, "is damaged"),
        (lambda plain: [], "is damaged"),
        (lambda plain: {**plain, "classes": ["a", "b"]}, "is damaged .*state_dict"),
        (lambda plain: {**plain, "cut": {"kind": "magic", "name": "x", "stage": 1}}, "is damaged .*magic"),
        (lambda plain: {**plain, "preprocessing": {"mean": [0]}}, "is damaged"),
        (lambda plain: {**plain, "backbone": {"name": "test_nothing", "kwargs": {}}}, "unknown backbone"),
        (
            lambda plain: {**plain, "backbone": {"name": "test_resnet", "kwargs": {"checkpoint_path": "x"}}},
            "not allowed",
        ),
        (lambda plain: {**plain, "head": {"kind": "linear", "dropout": 7}}, "out of range"),
        (lambda plain: {**plain, "head": {"kind": "magic"}}, "is damaged .*magic"),
        (lambda plain: {**plain, "head": {"kind": "linear", "pool": "magic"}}, "head.pool=magic is not an option"),
        (lambda plain: {**plain, "head": {"kind": "linear", "pool": "gem"}}, "is damaged .*state_dict"),
        (lambda plain: {**plain, "format": 99}, "newer tlx"),
    ],
)
def test_a_damaged_model_is_told(harm: Any, told: str, tmp_path: Path) -> None:
    network, seen, _ = build("test_resnet", EarlyCut())
    model_folder.save(tmp_path / "m", network, TimmBackbone(name="test_resnet"), LinearHead(), seen, list("abc"))
    file = tmp_path / "m" / "network.json"
    file.write_text(json.dumps(harm(json.loads(file.read_text()))))
    with pytest.raises(InputError, match=told):
        model_folder.load(tmp_path / "m")


def test_a_missing_or_truncated_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        model_folder.load(tmp_path)
    network, seen, _ = build("test_resnet", EarlyCut())
    model_folder.save(tmp_path / "m", network, TimmBackbone(name="test_resnet"), LinearHead(), seen, list("abc"))
    weights = tmp_path / "m" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"weights\.safetensors is truncated"):
        model_folder.load(tmp_path / "m")


def test_new_weights_do_not_meet_what_was_made_of_the_old_ones() -> None:
    """LeViT keeps attention biases in eval mode: when the best epoch is loaded after a validation, they must go."""
    network, other = (build("levit_128s", StageCut(stage=0), seed)[0].eval() for seed in (0, 1))
    for name, tensor in network.named_parameters():
        if name.endswith("attention_biases"):
            torch.nn.init.normal_(tensor, std=5.0)
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = network(images)
        assert not torch.equal(other(images), expected)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(images), expected)


def test_weights_that_several_modules_share_are_saved_and_loaded(tmp_path: Path) -> None:
    """CoaT's blocks share their position encodings."""
    kwargs = {"embed_dims": [16, 24, 24, 24], "parallel_depth": 1}
    network, seen, _ = build("coat_tiny", StageCut(stage=1), kwargs=kwargs)
    backbone = TimmBackbone(name="coat_tiny", kwargs=kwargs)
    model_folder.save(tmp_path / "m", network, backbone, LinearHead(), seen, list("abc"))
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(model_folder.load(tmp_path / "m")[0](images), network.eval()(images))


def test_random_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = build("test_resnet", HeadCut(), seed=5)[0].state_dict()
    torch.manual_seed(2)
    same, other = (build("test_resnet", HeadCut(), seed=s)[0].state_dict() for s in (5, 6))
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not torch.equal(one["trunk.model.conv1.0.weight"], other["trunk.model.conv1.0.weight"])
    assert not torch.equal(one["head.linear.weight"], other["head.linear.weight"])


def test_counts_add_up() -> None:
    for freeze in (TrunkFreeze(), NoFreeze()):
        network, _, surgery = build("test_resnet", EarlyCut(keep=0.5), freeze=freeze)
        counts = networks.counts(network, surgery)
        total = sum(p.numel() for p in network.parameters())
        head = network.head.linear.weight.numel() + 3
        assert counts["trained"] + counts["frozen"] == total == counts["kept"] + head
        whole = timm.create_model("test_resnet", pretrained=False)
        assert counts["kept"] + counts["dropped"] == sum(p.numel() for p in whole.parameters())
        assert counts["trained"] == (head if isinstance(freeze, TrunkFreeze) else total)


def test_it_is_described_in_words() -> None:
    network, _, surgery = build("test_resnet", EarlyCut(keep=0.5))
    words = networks.described(network, surgery)
    assert words == {
        "cut": "behind stage layer2",
        "features": network.trunk.width,
        "weights": None,
        "head": "the new fully connected layer",
    }
    network, _, surgery = build("test_resnet", HeadCut(), freeze=NoFreeze())
    assert networks.described(network, surgery)["cut"] == "behind everything but the classifier"


def test_what_pools_is_said_where_the_head_does() -> None:
    network, _, surgery = build("test_vit", HeadCut(), head=LinearHead(pool="gem"))
    words = networks.described(network, surgery)
    assert words["cut"] == "behind everything but the pooling and the classifier"
    assert words["head"] == "the new fully connected layer and its gem pooling"


def test_a_model_of_format_1_is_read_as_it_was_written(tmp_path: Path) -> None:
    """It held no pooling: the average at a layer, also where ``auto`` now reads the class token."""
    images = torch.randn(2, 3, SIZE, SIZE)
    for number, (cut, pool) in enumerate([(LayerCut(name="norm"), "avg"), (HeadCut(), "auto"), (EarlyCut(), "auto")]):
        network, seen, _ = build("test_vit", cut, head=LinearHead(pool=pool))
        folder = tmp_path / str(number)
        model_folder.save(folder, network, TimmBackbone(name="test_vit"), LinearHead(), seen, list("abc"))
        file = folder / "network.json"
        plain = json.loads(file.read_text())
        assert plain["head"] == {"kind": "linear", "pool": pool, "dropout": 0.0}
        del plain["head"]["pool"]
        file.write_text(json.dumps({**plain, "format": 1}))
        assert torch.equal(model_folder.load(folder)[0](images), network.eval()(images))


def test_the_pooling_that_auto_found_is_what_is_saved(tmp_path: Path) -> None:
    network, seen, _ = build("test_vit", LayerCut(name="norm"))
    model_folder.save(tmp_path / "m", network, TimmBackbone(name="test_vit"), LinearHead(), seen, list("abc"))
    assert json.loads((tmp_path / "m" / "network.json").read_text())["head"]["pool"] == "token"
    images = torch.randn(2, 3, SIZE, SIZE)
    assert torch.equal(model_folder.load(tmp_path / "m")[0](images), network.eval()(images))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_mambaout"])
def test_features_do_not_depend_on_the_memory_format_or_the_batch(name: str) -> None:
    network = build(name, HeadCut())[0].eval()
    images = torch.randn(3, 3, SIZE, SIZE)
    one = network.embed(images)
    assert torch.equal(one, network.embed(images.contiguous(memory_format=torch.channels_last)))
    torch.testing.assert_close(one[1:2], network.embed(images[1:2]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(images), network.head.classify(one))


def test_a_cut_inside_a_saved_network_is_found_again_by_name(tmp_path: Path) -> None:
    """Every layer of one family, through save and load."""
    offered = layers(networks.create(TimmBackbone(name="test_resnet"), SIZE).model, SIZE)
    images = torch.randn(1, 3, SIZE, SIZE)
    for number, name in enumerate(offered):
        network, seen, _ = build("test_resnet", LayerCut(name=name))
        folder = tmp_path / str(number)
        model_folder.save(folder, network, TimmBackbone(name="test_resnet"), LinearHead(), seen, list("abc"))
        assert torch.equal(model_folder.load(folder)[0](images), network.eval()(images)), name
