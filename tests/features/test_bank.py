"""The feature bank: what a live network would compute, in the split's order, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tlx.config.groups import (
    EarlyCut,
    HeadCut,
    LightAugment,
    LinearHead,
    NoAugment,
    ScratchInit,
    TimmBackbone,
    Trainer,
    TrunkFreeze,
)
from tlx.data.module import ImageModule
from tlx.data.source import ArrayImages, FileImages, Images, Source
from tlx.data.transforms import Prepare
from tlx.errors import NumericalError
from tlx.features import bank as module_under_test
from tlx.features import filling, room
from tlx.features.bank import Bank, Reader
from tlx.features.rows import Rows
from tlx.learner.trainer import make_trainer
from tlx.network.inference import Classifier, predict
from tlx.network.network import Network, build
from tlx.preprocessing import Preprocessing


def network(name: str = "test_resnet", cut: HeadCut | EarlyCut | None = None, seed: int = 0) -> Network:
    # Dropout in trunk and head: a bank that were computed in training mode would differ.
    backbone = TimmBackbone(name=name, kwargs={"drop_rate": 0.5, "drop_path_rate": 0.5})
    head = LinearHead(dropout=0.5)
    return build(backbone, ScratchInit(), cut or HeadCut(), TrunkFreeze(), head, 3, seed=seed, image_size=32)[0]


def made(split: str, count: int) -> ArrayImages:
    rng = np.random.default_rng(count)
    return ArrayImages(split, rng.integers(0, 255, (count, 36, 40, 3), dtype=np.uint8), rng.integers(0, 3, count))


def module(
    batch_size: int = 4, workers: int = 0, train: Images | None = None, augment: Any = None, seed: int = 0
) -> ImageModule:
    source = Source(("a", "b", "c"), train or made("train", 11), made("val", 5), made("test", 1), in_memory=True)
    prepare = Prepare(Preprocessing(32, (0.5,) * 3, (0.25,) * 3, "bilinear", 0.9))
    return ImageModule(source, prepare, augment or NoAugment(), batch_size, workers, "none", seed)


class Spy(Reader):
    """Counts the images that pass through the trunk."""

    passed = 0

    def _compute(self, split: str, wanted: np.ndarray, missing: np.ndarray, drawn: bool) -> None:
        type(self).passed += len(missing)
        super()._compute(split, wanted, missing, drawn)


def reader(net: Network, images: ImageModule, folder: Path | None = None, precision: str = "32") -> Spy:
    trainer = make_trainer(Trainer(accelerator="cpu", precision=precision))
    return Spy(net, images, trainer, folder)


@pytest.fixture(autouse=True)
def _count() -> None:
    Spy.passed = 0


def features(bank: Bank) -> np.ndarray:
    return np.asarray(bank.features)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_mambaout"])
@pytest.mark.parametrize("cut", [HeadCut(), EarlyCut(keep=0.5)], ids=["head", "early"])
@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_a_bank_holds_what_the_live_network_computes(
    name: str, cut: HeadCut | EarlyCut, kept: str, tmp_path: Path
) -> None:
    net, images = network(name, cut), module()
    net.train()
    for _ in range(2):  # computed, and read
        reading = reader(net, images, tmp_path if kept == "disk" else None)
        for split, count in (("train", 11), ("val", 5), ("test", 1)):
            bank = reading.bank(split)
            assert bank.features.shape == (count, net.trunk.width)
            assert features(bank).dtype == np.float32
            assert np.array_equal(bank.labels, images.source.split(split).labels)
            for index in range(count):
                image = images.prepare(images.source.split(split).read(index))
                with torch.no_grad():
                    live = net.eval().embed(image[None])[0]
                np.testing.assert_allclose(features(bank)[index], live.numpy(), atol=1e-6, rtol=1e-5)
    assert Spy.passed == (17 if kept == "disk" else 34)


def test_batches_and_workers_do_not_change_a_bank() -> None:
    net = network()
    one = features(reader(net, module(4)).bank("train"))
    for batch_size, workers in ((1, 0), (11, 0), (4, 2)):
        other = features(reader(net, module(batch_size, workers)).bank("train"))
        np.testing.assert_allclose(other, one, atol=1e-6, rtol=1e-5)


def test_logits_are_those_of_the_head_on_the_bank() -> None:
    net, images = network(), module(3)
    logits = predict(make_trainer(Trainer(accelerator="cpu")), Classifier(net), images.plain_loader("train"))
    rows = torch.from_numpy(features(reader(net, images).bank("train")))
    with torch.no_grad():
        torch.testing.assert_close(logits, net.head.linear(rows), atol=1e-6, rtol=1e-5)


def photographs(root: Path, count: int) -> FileImages:
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 255, (36, 40, 3), dtype=np.uint8)
        if not (root / f"{index:02}.png").exists():
            Image.fromarray(pixels).save(root / f"{index:02}.png")
    return FileImages(root, tuple(sorted(path.name for path in root.iterdir())), np.arange(count) % 3)


def test_only_what_is_new_is_computed(tmp_path: Path) -> None:
    net, folder = network(), tmp_path / "bank"

    def passed(images: FileImages, net: Network = net) -> int:
        before = Spy.passed
        bank = reader(net, module(train=images), folder).bank("train")
        fresh = reader(net, module(train=images)).bank("train")
        Spy.passed -= len(images.labels)
        np.testing.assert_allclose(features(bank), features(fresh), atol=1e-6, rtol=1e-5)
        return Spy.passed - before

    root = tmp_path / "x"
    assert passed(photographs(root, 9)) == 9
    assert passed(photographs(root, 9)) == 0
    assert passed(photographs(root, 12)) == 3
    (root / "00.png").rename(root / "zz.png")  # an image renamed, and with that all of them in another order
    renamed = FileImages(root, tuple(sorted(path.name for path in root.iterdir())), np.arange(12) % 3)
    assert passed(renamed) == 0
    Image.new("RGB", (36, 40), (9, 9, 9)).save(root / "05.png")
    changed = FileImages(root, renamed.paths, renamed.labels)
    assert passed(changed) == 1
    next(net.trunk.parameters()).data[0, 0, 0, 0] += 0.5
    assert passed(changed) == 12


def test_copies_of_an_image_are_computed_once() -> None:
    images = made("x", 4)
    copies = ArrayImages("x", images.images[[0, 1, 0, 2, 1, 3]], np.arange(6) % 3)
    net = network()
    bank = reader(net, module(train=copies)).bank("train")
    assert Spy.passed == 4
    assert np.array_equal(features(bank)[[0, 1]], features(bank)[[2, 4]])


def test_what_an_interrupted_pass_has_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "WAITING", 1)
    monkeypatch.setattr(filling, "SHARD_BYTES", 1)  # a shard a batch
    net = network()

    class Ending(ArrayImages):
        def read(self, index: int, least: int | None = None) -> Image.Image:
            if index == 9:
                raise KeyboardInterrupt
            return super().read(index, least)

    images = made("train", 11)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        reader(net, module(2, train=Ending("train", images.images, images.labels)), tmp_path).bank("train")
    Spy.passed = 0
    bank = reader(net, module(2, train=images), tmp_path).bank("train")
    assert Spy.passed == 3  # the batch that was interrupted, and what came after it
    np.testing.assert_allclose(
        features(bank), features(reader(net, module(2, train=images)).bank("train")), atol=1e-6, rtol=1e-5
    )


def test_a_damaged_file_costs_its_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "WAITING", 1)
    monkeypatch.setattr(filling, "SHARD_BYTES", 1)
    net = network()
    whole = features(reader(net, module(), tmp_path).bank("train"))
    (folder,) = tmp_path.glob("[!.]*")
    sizes = {path.stat().st_size: path for path in folder.glob("*.safetensors")}
    largest = sizes[max(sizes)]
    altered = bytearray(largest.read_bytes())
    altered[-500] ^= 2
    largest.write_bytes(altered)
    Spy.passed = 0
    again = reader(net, module(), tmp_path)
    np.testing.assert_allclose(features(again.bank("train")), whole, atol=1e-6, rtol=1e-5)
    assert (Spy.passed, again.store.damaged) == (4, 1)


def test_features_that_are_not_finite_name_their_image(tmp_path: Path) -> None:
    class Burning(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(x)
            return torch.where(x.flatten(1).mean(1)[:, None] > 1.9, torch.nan, y)  # white images

    net = network()
    net.trunk.model = Burning(net.trunk.model)
    images = made("train", 11)
    pixels = images.images.copy()
    pixels[6] = 255
    burning = module(train=ArrayImages("white", pixels, images.labels))
    with pytest.raises(NumericalError, match=r"features of white/6 are not finite.*precision=32"):
        reader(net, burning, tmp_path).bank("train")
    Spy.passed = 0
    assert features(reader(net, module(train=images), tmp_path).bank("train")).shape == (11, net.trunk.width)
    assert Spy.passed == 5  # of the images before it, what was right is kept


@pytest.mark.parametrize("workers", [0, 2])
def test_views_are_those_that_a_training_draws(workers: int, tmp_path: Path) -> None:
    net, images = network(), module(workers=workers, augment=LightAugment(), seed=3)
    bank = reader(net, images, tmp_path).bank("train", views=3)
    assert bank.features.shape == (33, net.trunk.width)
    assert np.array_equal(bank.labels, np.tile(images.source.train.labels, 3))
    net.eval()
    for view in range(3):
        for index in range(11):
            image = images.draw(images.source.train.read(index), view, index)
            with torch.no_grad():
                live = net.embed(image[None])[0]
            np.testing.assert_allclose(features(bank)[11 * view + index], live.numpy(), atol=1e-6, rtol=1e-5)
    Spy.passed = 0
    assert len(reader(net, images, tmp_path).bank("train", views=5).labels) == 55
    assert Spy.passed == 22  # three views are known


def test_what_another_pass_has_computed_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = network(), module()
    rows = features(reader(net, images).bank("train"))
    Spy.passed = 0
    reading = reader(net, images, tmp_path)
    assert not reading.knows("train")
    beside = np.hstack([rows + 1, rows, rows + 2])  # other depths
    monkeypatch.setattr(module_under_test, "CHUNK", 4)
    reading.adopt("train", 0, beside, slice(rows.shape[1], 2 * rows.shape[1]))
    assert reading.knows("train")
    assert np.array_equal(features(reader(net, images, tmp_path).bank("train")), rows)
    assert Spy.passed == 0
    reading.bank("train")
    assert (reading.found, reading.computed) == (0, 0)  # neither known from before nor computed by this pass


class Secret(torch.nn.Module):
    """A module whose description does not tell what it does."""

    def __init__(self, inner: torch.nn.Module, factor: float) -> None:
        super().__init__()
        self.inner = inner
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return self.factor * y


def test_code_that_changed_is_noticed_by_what_it_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def secret(factor: float) -> Network:
        net = network()
        net.trunk.model = Secret(net.trunk.model, factor)
        return net

    one = features(reader(secret(1.0), module(), tmp_path).bank("val"))
    two = features(reader(secret(2.0), module(), tmp_path).bank("val"))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-4)
    assert len(list(tmp_path.glob("[!.]*"))) == 2
    Spy.passed = 0
    for factor in (1.0, 2.0):
        reader(secret(factor), module(), tmp_path).bank("val")
    assert Spy.passed == 0
    monkeypatch.setattr(module_under_test, "CLOSE", np.inf)  # the control: nobody looks
    assert np.array_equal(features(reader(secret(2.0), module(), tmp_path).bank("val")), one)


def test_a_large_bank_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    small = reader(net, module(), tmp_path).bank("train").features
    monkeypatch.setattr(module_under_test, "HELD", 100)
    large = reader(net, module(), tmp_path).bank("train").features
    assert isinstance(small, np.ndarray)
    assert isinstance(large, Rows)
    assert np.array_equal(large[:], small)


def test_a_bank_says_what_it_is_made_of(tmp_path: Path) -> None:
    net = network(cut=EarlyCut(keep=0.5))
    reader(net, module(), tmp_path).bank("val")
    (folder,) = tmp_path.glob("[!.]*")
    told = json.loads((folder / room.MARK).read_text())
    assert told["cut"] == ["stage", net.trunk.point.name, net.trunk.point.stage]
    assert told["preprocessing"]["image_size"] == 32
    assert set(told["versions"]) == {"torch", "torchvision", "timm", "pillow"}
    assert reader(net, module(), tmp_path, "bf16-mixed").bank("val").features.dtype == np.float32
    assert len(list(tmp_path.glob("[!.]*"))) == 2  # another precision is another bank


def test_one_bank_is_read_by_runs_of_other_sizes(tmp_path: Path) -> None:
    """The images at hand matter, not the set that they are part of."""
    net, images = network(), made("train", 11)
    reader(net, module(train=images), tmp_path).bank("train")
    some = ArrayImages("some", images.images[[7, 2, 5]], images.labels[[7, 2, 5]])
    Spy.passed = 0
    bank = reader(net, module(train=some), tmp_path).bank("train")
    assert Spy.passed == 0
    whole = features(reader(net, module(train=images), tmp_path).bank("train"))
    assert np.array_equal(features(bank), whole[[7, 2, 5]])


def test_batches_become_smaller_until_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "WAITING", 1)
    monkeypatch.setattr(filling, "SHARD_BYTES", 1)
    sizes: list[int] = []

    class Small(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            if len(x) > 3:
                raise torch.OutOfMemoryError("out of memory")
            y: torch.Tensor = self.inner(x)
            return y

    expected = features(reader(network(), module()).bank("train"))
    net = network()
    net.trunk.model = Small(net.trunk.model)
    rows = features(reader(net, module(11), tmp_path).bank("train"))
    np.testing.assert_allclose(rows, expected, atol=1e-6, rtol=1e-5)
    assert sizes[2:] == [11, 5, 2, 2, 2, 2, 2, 1]  # behind the fixed image, and one that is looked at
