"""Init: weights arrive whole, from where they were asked for, or it is said what is wrong."""

from __future__ import annotations

import pickle
import socket
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from tlx.config.groups import HeadCut, LayerCut, PretrainedInit, StageCut, TimmBackbone
from tlx.errors import InputError
from tlx.network import init as inits
from tlx.network.backbone import create
from tlx.network.cut import Trunk, cut_at
from tlx.network.init import PACKAGE_WEIGHTS, load_pretrained

RESNET = TimmBackbone(name="test_resnet")
SIZE = 32

Weights = dict[str, torch.Tensor]


def weights_of(name: str, **kwargs: Any) -> Weights:
    """Return the weights of a whole network, classifier included, none of them at its initial value."""
    torch.manual_seed(7)
    model = timm.create_model(name, pretrained=False, **kwargs)
    return {n: torch.randn_like(t) if t.is_floating_point() else t + 5 for n, t in model.state_dict().items()}


def trunk_of(backbone: TimmBackbone = RESNET, cut: Any = None, size: int = SIZE) -> Trunk:
    return cut_at(create(backbone, size).model, cut or HeadCut(), size)


def holds(trunk: Trunk, weights: Weights) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in trunk.model.state_dict().items())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a connection or asks for an address."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"the network was used: {args}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


WRITERS: dict[str, Callable[[Weights, Path], None]] = {
    "plain.safetensors": lambda w, path: save_file(w, path),
    "plain.pth": lambda w, path: torch.save(w, path),
    "state_dict.pth": lambda w, path: torch.save({"epoch": 3, "state_dict": w}, path),
    "model.pth": lambda w, path: torch.save({"model": w}, path),
    "both.pth": lambda w, path: torch.save({"state_dict": {"model": w}}, path),
    "module.pth": lambda w, path: torch.save({"state_dict": {f"module.{n}": t for n, t in w.items()}}, path),
    "half.safetensors": lambda w, path: save_file({n: t.bfloat16() if t.dim() else t for n, t in w.items()}, path),
}


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_serves_in_every_common_form(name: str, tmp_path: Path) -> None:
    weights = weights_of("test_resnet")
    if name.startswith("half"):
        weights = {n: t.bfloat16().float() if t.dim() else t for n, t in weights.items()}
    WRITERS[name](weights, tmp_path / name)
    trunk = trunk_of()
    assert not holds(trunk, weights)
    assert load_pretrained(trunk.model, RESNET, PretrainedInit(file=str(tmp_path / name))) == tmp_path / name
    assert holds(trunk, weights)


@pytest.mark.parametrize("cut", [StageCut(stage="layer1"), LayerCut(name="layer1.0")])
def test_weights_behind_the_cut_may_be_missing_those_inside_may_not(cut: Any, tmp_path: Path) -> None:
    weights = weights_of("test_resnet")
    behind = [n for n in weights if n.startswith(("layer3", "layer4", "fc"))]
    short = {n: t for n, t in weights.items() if n not in behind}
    save_file(short, tmp_path / "short.safetensors")
    trunk = trunk_of(cut=cut)
    load_pretrained(trunk.model, RESNET, PretrainedInit(file=str(tmp_path / "short.safetensors")))
    assert holds(trunk, weights)

    del short["layer1.0.conv1.weight"]
    save_file(short, tmp_path / "hole.safetensors")
    with pytest.raises(
        InputError, match=r"lacks weights inside what the cut keeps: layer1\.0\.conv1\.weight; cut earlier"
    ):
        load_pretrained(trunk_of(cut=cut).model, RESNET, PretrainedInit(file=str(tmp_path / "hole.safetensors")))
    with pytest.raises(InputError, match=r"layer1\.0\.conv1\.weight, layer3"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(file=str(tmp_path / "hole.safetensors")))


def test_a_missing_batch_counter_is_no_hole(tmp_path: Path) -> None:
    weights = {n: t for n, t in weights_of("test_resnet").items() if "num_batches" not in n}
    save_file(weights, tmp_path / "w.safetensors")
    trunk = trunk_of()
    load_pretrained(trunk.model, RESNET, PretrainedInit(file=str(tmp_path / "w.safetensors")))
    assert torch.equal(trunk.model.conv1[0].weight, weights["conv1.0.weight"])


@pytest.mark.parametrize("other", ["test_vit", "test_convnext", "test_efficientnet"])
def test_another_architecture_is_told_as_such(other: str, tmp_path: Path) -> None:
    save_file(weights_of(other), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"is of another architecture: .* tensors match"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(file=str(tmp_path / "w.safetensors")))


def test_misshapen_weights_are_named(tmp_path: Path) -> None:
    weights = weights_of("test_resnet")
    weights["layer1.0.conv1.weight"] = weights["layer1.0.conv1.weight"][:1].clone()
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"lacks weights .*layer1\.0\.conv1\.weight"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(file=str(tmp_path / "w.safetensors")))


@pytest.mark.parametrize("name", ["plain.safetensors", "plain.pth"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_told(name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](weights_of("test_resnet"), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=name):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(file=str(path)))


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_refused_not_run(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # torch would let this win over weights_only=True
    path, mark = tmp_path / "bomb.pth", tmp_path / "mark"
    content = {"state_dict": weights_of("test_resnet"), "more": Bomb(mark)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"bomb\.pth is (damaged|truncated)"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(file=str(path)))
    assert not mark.exists()
    torch.load(path, weights_only=False) if how == "torch" else pickle.loads(path.read_bytes())
    assert mark.exists()  # the bomb was live


def test_what_is_no_file_of_weights_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    for file, told in (
        (str(tmp_path / "none.pth"), "no file"),
        (str(tmp_path), "no file"),
        ("https://example.org/w.pth", "is a URL"),
        (str(tmp_path / "empty.pth"), "holds no named tensors"),
    ):
        with pytest.raises(InputError, match=told):
            load_pretrained(trunk_of().model, RESNET, PretrainedInit(file=file))


def hub_cache(folder: Path, repository: str, filename: str, weights: Weights) -> Path:
    """Lay out a folder as the hub's client does: refs, snapshots, and blobs that the snapshots link to."""
    place = folder / f"models--{repository.replace('/', '--')}"
    commit, blob = "0123456789abcdef0123456789abcdef01234567", place / "blobs" / "f00d"
    for part in ("refs", f"snapshots/{commit}", "blobs"):
        (place / part).mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    save_file(weights, blob) if filename.endswith("safetensors") else torch.save(weights, blob)
    link = place / "snapshots" / commit / filename
    link.symlink_to(Path("../..") / "blobs" / "f00d")
    return link


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("filename", ["model.safetensors", "pytorch_model.bin"])
def test_the_hubs_cache_serves_without_the_network(filename: str, tmp_path: Path) -> None:
    weights = weights_of("test_resnet")
    file = hub_cache(tmp_path, "timm/test_resnet.r160_in1k", filename, weights)
    trunk = trunk_of()
    assert load_pretrained(trunk.model, RESNET, PretrainedInit(cache=str(tmp_path))) == file
    assert holds(trunk, weights)


def test_an_empty_cache_does_use_the_network(no_network: None, tmp_path: Path) -> None:
    """The negative control of the fixture: it is the cache that spares the network."""
    del no_network
    with pytest.raises(InputError, match="the network was used"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(cache=str(tmp_path)))


def test_an_unreachable_hub_is_told_within_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that never answers has no timeout of its own."""
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: time.sleep(60))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    with pytest.raises(
        InputError, match=r"the hub is out of reach .*init\.file=PATH.*backbone=embedded, or init=scratch"
    ):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(cache=str(tmp_path)))
    assert time.monotonic() - started < 10


def test_an_unreachable_proxy_is_told_within_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client alone takes 47 s here, and then says that the hub does not hold the file."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(InputError, match=r"the hub is out of reach .*refused"):
            load_pretrained(trunk_of().model, RESNET, PretrainedInit(cache=str(tmp_path)))
    assert time.monotonic() - started < 10


def test_offline_by_wish_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    del no_network
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(cache=str(tmp_path)))


def test_a_hub_that_answers_no_is_another_thing_than_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fails(*args: Any, **kwargs: Any) -> None:
        raise LocalEntryNotFoundError("cannot find the file in the cache, and the hub gave up")

    monkeypatch.setattr(inits, "out_of_reach", lambda: "")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    with pytest.raises(InputError, match=r"out of reach \(cannot find"):
        load_pretrained(trunk_of().model, RESNET, PretrainedInit(cache=str(tmp_path)))


def test_a_backbone_without_hub_weights_is_told() -> None:
    for backbone in (TimmBackbone(name="test_resnet", weights="none"), TimmBackbone(name="resnet26t", weights="none")):
        with pytest.raises(
            InputError, match=f"no hub weights are known for {backbone.name}; give init=scratch .*init.file"
        ):
            load_pretrained(trunk_of(backbone).model, backbone, PretrainedInit())


def test_position_embeddings_are_resized_from_another_size(tmp_path: Path) -> None:
    vit = TimmBackbone(name="test_vit")
    weights = weights_of("test_vit", img_size=160)
    save_file(weights, tmp_path / "w.safetensors")
    trunk = trunk_of(vit, size=96)
    load_pretrained(trunk.model, vit, PretrainedInit(file=str(tmp_path / "w.safetensors")))
    own = trunk.model.state_dict()
    assert weights["pos_embed"].shape == (1, 101, 64)
    assert own["pos_embed"].shape == (1, 37, 64)
    assert torch.equal(own["pos_embed"][:, 0], weights["pos_embed"][:, 0])  # the class token has no place
    grid = weights["pos_embed"][:, 1:].reshape(1, 10, 10, 64).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, (6, 6), mode="bicubic", antialias=True)
    torch.testing.assert_close(own["pos_embed"][:, 1:], expected.permute(0, 2, 3, 1).reshape(1, 36, 64))
    assert all(torch.equal(t, weights[n]) for n, t in own.items() if n != "pos_embed")


# What is resized, where timm knows how: position embeddings, tables of relative positions; of a cut network, too.
RESIZED = {
    "vit_small_patch14_reg4_dinov2": ({"embed_dim": 48, "depth": 3, "num_heads": 3}, 70, 98, "pos_embed"),
    "deit_tiny_distilled_patch16_224": ({"depth": 3}, 64, 96, "pos_embed"),
    "beit_base_patch16_224": ({"embed_dim": 48, "depth": 3, "num_heads": 3}, 64, 96, "relative_position_bias_table"),
    "swin_tiny_patch4_window7_224": ({"embed_dim": 24}, 32, 96, "relative_position_bias_table"),
    "test_maxvit": ({}, 64, 96, "relative_position_bias_table"),
}


@pytest.mark.parametrize("name", RESIZED)
@pytest.mark.parametrize("cut", [HeadCut(), StageCut(stage=1)], ids=["head", "stage"])
def test_positions_are_resized_in_a_whole_network_and_in_a_cut_one(name: str, cut: Any, tmp_path: Path) -> None:
    kwargs, old, new, resized = RESIZED[name]
    backbone = TimmBackbone(name=name, kwargs=kwargs)
    state = create(backbone, old).model.state_dict()
    torch.manual_seed(1)
    weights = {n: torch.randn_like(t) if t.is_floating_point() else t + 5 for n, t in state.items()}
    save_file(weights, tmp_path / "w.safetensors")
    file = PretrainedInit(file=str(tmp_path / "w.safetensors"))
    trunk = trunk_of(backbone, cut, new)
    load_pretrained(trunk.model, backbone, file)
    own = trunk.model.state_dict()
    other = {n for n, t in own.items() if t.shape != weights[n].shape}
    assert other
    assert all(n.endswith(resized) for n in other)
    assert all(torch.equal(t, weights[n]) for n, t in own.items() if n not in other)
    whole = create(backbone, new).model  # what timm itself makes of the file
    adapt = sys.modules[type(whole).__module__].checkpoint_filter_fn  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = adapt(dict(weights), whole)
    assert all(torch.equal(own[n], adapted[n]) for n in other)


def test_positions_that_timm_does_not_resize_are_told_with_their_shapes(tmp_path: Path) -> None:
    cait = TimmBackbone(name="cait_xxs24_224", kwargs={"embed_dim": 48, "depth": 3})
    save_file(create(cait, 64).model.state_dict(), tmp_path / "w.safetensors")
    told = r"pos_embed \(1 x 16 x 48, wanted 1 x 36 x 48\); .* at the size that it was made for"
    with pytest.raises(InputError, match=told):
        load_pretrained(trunk_of(cait, size=96).model, cait, PretrainedInit(file=str(tmp_path / "w.safetensors")))


@pytest.mark.usefixtures("no_network")
def test_the_packages_own_weights_serve_without_the_network() -> None:
    embedded = TimmBackbone(
        name="resnet10t",
        kwargs={"channels": [24, 48, 96, 192], "stem_width": 16, "num_classes": 37},
        weights="package",
        image_size=48,
    )
    trunk = trunk_of(embedded, size=48)
    before = {n: t.clone() for n, t in trunk.model.state_dict().items()}
    assert load_pretrained(trunk.model, embedded, PretrainedInit()).name == PACKAGE_WEIGHTS
    own = trunk.model.state_dict()
    assert all(not torch.equal(before[n], t) for n, t in own.items() if n.endswith("running_var"))
    assert all(bool(torch.isfinite(t).all()) for t in own.values())
