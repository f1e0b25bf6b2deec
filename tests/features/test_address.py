"""Addresses: every ingredient of a row changes where it is looked for, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tlx.config.groups import (
    EarlyCut,
    HeadCut,
    LightAugment,
    LinearHead,
    ScratchInit,
    StandardAugment,
    TimmBackbone,
    TrunkFreeze,
)
from tlx.data.source import ArrayImages, FileImages
from tlx.data.transforms import Draw, Prepare
from tlx.features import address as module
from tlx.features.address import address, ids, ingredients
from tlx.network.network import Network, build
from tlx.network.reach import open_depths
from tlx.preprocessing import Preprocessing

SETTINGS: dict[str, Any] = {
    "image_size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bilinear", "crop": 0.9,
}  # fmt: skip
BACKBONE = TimmBackbone(name="test_resnet")


def network(cut: HeadCut | EarlyCut | None = None, pool: str = "auto", seed: int = 0) -> Network:
    head = LinearHead(pool=pool)
    return build(BACKBONE, ScratchInit(), cut or HeadCut(), TrunkFreeze(), head, 3, seed=seed, image_size=32)[0]


def where(net: Any = None, precision: str = "32-true", device: str = "cpu", **settings: Any) -> str:
    prepare = Prepare(Preprocessing(**{**SETTINGS, **settings}))
    return address(ingredients(net or network(), prepare, precision, device))


def _altered() -> Iterator[tuple[str, Callable[[Network], None]]]:
    def weight(net: Network) -> None:
        next(net.trunk.parameters()).data[0, 0, 0, 0] += 1e-6

    def statistics(net: Network) -> None:
        next(buffer for name, buffer in net.trunk.named_buffers() if name.endswith("running_var")).view(-1)[0] += 1e-6

    def activation(net: Network) -> None:
        path = next(name for name, m in net.trunk.model.named_modules() if isinstance(m, nn.ReLU))
        parent, _, name = path.rpartition(".")
        setattr(net.trunk.model.get_submodule(parent), name, nn.GELU())

    def layout(net: Network) -> None:
        net.trunk.memory_format = torch.contiguous_format

    yield from {"weight": weight, "statistics": statistics, "activation": activation, "layout": layout}.items()


@pytest.mark.parametrize(("name", "alter"), list(_altered()))
def test_a_changed_trunk_has_another_address(name: str, alter: Callable[[Network], None]) -> None:
    net = network()
    other = deepcopy(net)
    assert where(other) == where(net)
    alter(other)
    assert where(other) != where(net)


def test_every_other_ingredient_changes_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "plain": where(),
        "cut": where(network(EarlyCut(keep=0.5))),
        "pool": where(network(pool="max")),
        "seed": where(network(seed=1)),
        "depths": where(open_depths(BACKBONE, ScratchInit(), 0, 32)[0]),
        "precision": where(precision="bf16-mixed"),
        "device": where(device="cuda"),
        "image_size": where(image_size=40),
        "mean": where(mean=(0.5, 0.5, 0.4)),
        "std": where(std=(0.25, 0.25, 0.26)),
        "interpolation": where(interpolation="bicubic"),
        "crop": where(crop=0.95),
    }
    for package in module.PACKAGES:
        with monkeypatch.context() as patch:
            patch.setattr(module, "version", lambda name, package=package: "0" if name == package else "1")
            found[package] = where()
    with monkeypatch.context() as patch:
        patch.setattr(module, "FORMAT", -1)
        found["format"] = where()
    assert len(set(found.values())) == len(found)
    torch.set_float32_matmul_precision("high")
    try:
        assert where(device="cuda") != found["device"]
        assert where() == found["plain"]
    finally:
        torch.set_float32_matmul_precision("highest")


def test_what_is_not_part_of_a_trunk_does_not_change_its_address() -> None:
    net = network()
    before = where(net)
    net.head.linear.weight.data += 1
    net.train()
    assert where(net) == before
    assert where() == before  # another object, alike


def pictures(root: Path) -> FileImages:
    root.mkdir()
    for index in range(4):
        Image.new("RGB", (40, 40), (60 * index, 0, 0)).save(root / f"{index}.png")
    return FileImages(root, tuple(f"{i}.png" for i in range(4)), np.array([0, 1, 0, 1]))


def test_an_image_is_addressed_by_its_bytes(tmp_path: Path) -> None:
    images = pictures(tmp_path / "a")
    before = ids(images)
    assert before.shape == (4, 16)
    assert len(np.unique(before, axis=0)) == 4
    (tmp_path / "a" / "0.png").rename(tmp_path / "a" / "z.png")
    (tmp_path / "a" / "1.png").touch()
    moved = FileImages(tmp_path / "a", ("1.png", "2.png", "3.png", "z.png"), np.zeros(4, np.int64))
    assert np.array_equal(ids(moved), before[[1, 2, 3, 0]])
    Image.new("RGB", (40, 40), (1, 1, 1)).save(tmp_path / "a" / "2.png")
    changed = ids(FileImages(tmp_path / "a", ("1.png", "2.png", "3.png", "z.png"), np.zeros(4, np.int64)))
    assert [bool((a == b).all()) for a, b in zip(changed, ids(moved), strict=True)] == [True, False, True, True]


def test_a_drawn_view_is_addressed_by_how_it_was_drawn() -> None:
    rng = np.random.default_rng(0)
    images = ArrayImages("x", rng.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8), np.arange(3))
    prepare = Prepare(Preprocessing(**SETTINGS))

    def drawn(seed: int = 0, views: int = 2, augment: LightAugment | StandardAugment | None = None) -> np.ndarray:
        return ids(images, Draw(prepare, augment or LightAugment(), seed), views)

    plain = drawn()
    assert plain.shape == (6, 16)
    assert len(np.unique(np.concatenate([plain, ids(images)]), axis=0)) == 9  # every view its own, and none the image's
    assert np.array_equal(drawn(views=4)[:6], plain)  # more views are more rows
    for other in (drawn(seed=1), drawn(augment=StandardAugment()), drawn(augment=LightAugment(scale=[0.5, 1.0]))):
        assert not (other[:, None] == plain).all(2).any()
    same = ArrayImages("x", images.images[[0, 0, 0]], np.arange(3))
    assert len(np.unique(ids(same, Draw(prepare, LightAugment(), 0), 1), axis=0)) == 3  # another index, another draw


def test_code_that_prepares_images_otherwise_is_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(TimmBackbone(name="test_resnet"), ScratchInit(), HeadCut(), TrunkFreeze(), LinearHead(), 3, 0, 32)[
        0
    ]
    prepare = Prepare(Preprocessing(32, (0.5,) * 3, (0.25,) * 3, "bilinear", 0.9))
    images = ArrayImages("x", np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64))

    def found() -> tuple[str, bytes, bytes]:
        drawn = ids(images, Draw(prepare, LightAugment(), 0), 1)
        return address(ingredients(network, prepare, "32", "cpu")), ids(images).tobytes(), drawn.tobytes()

    before = found()
    assert found() == before
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda file, least: real(file, least).transpose(Image.Transpose.ROTATE_180))
    after = found()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, False]
