"""The feature bank: what a live network would compute, in the split's order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlx.config.groups import EarlyCut, HeadCut, LinearHead, NoAugment, ScratchInit, TimmBackbone, Trainer, TrunkFreeze
from tlx.data.module import ImageModule
from tlx.data.source import ArrayImages, Source
from tlx.data.transforms import Prepare
from tlx.features.bank import compute
from tlx.learner.trainer import make_trainer
from tlx.network.inference import Classifier, predict
from tlx.network.network import Network, build


def network(name: str, cut: HeadCut | EarlyCut) -> Network:
    # Dropout in trunk and head: a bank that were computed in training mode would differ.
    backbone = TimmBackbone(name=name, kwargs={"drop_rate": 0.5, "drop_path_rate": 0.5})
    return build(backbone, ScratchInit(), cut, TrunkFreeze(), LinearHead(dropout=0.5), 3, seed=0, image_size=32)[0]


def module(batch_size: int, workers: int = 0) -> ImageModule:
    rng = np.random.default_rng(0)
    splits = [
        ArrayImages(s, rng.integers(0, 255, (n, 36, 40, 3), dtype=np.uint8), rng.integers(0, 3, n))
        for s, n in (("train", 11), ("val", 5), ("test", 1))
    ]
    prepare = Prepare(32, (0.5,) * 3, (0.25,) * 3, "bilinear", 0.9)
    return ImageModule(
        Source(("a", "b", "c"), *splits, in_memory=True), prepare, NoAugment(), batch_size, workers, "none", 0
    )


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_mambaout"])
@pytest.mark.parametrize("cut", [HeadCut(), EarlyCut(keep=0.5)], ids=["head", "early"])
def test_a_bank_holds_what_the_live_network_computes(name: str, cut: HeadCut | EarlyCut) -> None:
    net, images = network(name, cut), module(4)
    trainer = make_trainer(Trainer(accelerator="cpu"))
    net.train()
    for split, count in (("train", 11), ("val", 5), ("test", 1)):
        bank = compute(net, images, trainer, split)
        assert bank.features.shape == (count, net.trunk.width)
        assert bank.features.dtype == np.float32
        assert np.array_equal(bank.labels, images.source.split(split).labels)
        for index in range(count):
            image = images.prepare(images.source.split(split).read(index))
            with torch.no_grad():
                live = net.eval().embed(image[None])[0]
            np.testing.assert_allclose(bank.features[index], live.numpy(), atol=1e-6, rtol=1e-5)


def test_batches_and_workers_do_not_change_a_bank() -> None:
    net = network("test_resnet", HeadCut())
    trainer = make_trainer(Trainer(accelerator="cpu"))
    one = compute(net, module(4), trainer, "train").features
    for batch_size, workers in ((1, 0), (11, 0), (4, 2)):
        other = compute(net, module(batch_size, workers), trainer, "train").features
        np.testing.assert_allclose(other, one, atol=1e-6, rtol=1e-5)


def test_logits_are_those_of_the_head_on_the_bank() -> None:
    net, images = network("test_resnet", HeadCut()), module(3)
    trainer = make_trainer(Trainer(accelerator="cpu"))
    logits = predict(trainer, Classifier(net), images.plain_loader("train"))
    features = torch.from_numpy(compute(net, images, trainer, "train").features)
    with torch.no_grad():
        torch.testing.assert_close(logits, net.head.linear(features), atol=1e-6, rtol=1e-5)
