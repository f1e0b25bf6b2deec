"""What a pass of the bank costs at every cut, beside a bare forward pass of the same kept layers.

Run: python -m tests.benchmarks.cuts [ROUNDS [IMAGES]], by default five rounds over 192 images, or as many more as the
bare pass needs for a second: a bank that is opened and made durable costs some hundredths of one, whatever the pass.
Four architectures with random weights, 192 px; images from memory, by the same loader on both sides, which run in turn
in one process: the product's pass, which ends in rows on disk, and a loop over timm's own layers, written out by hand.
Prints Markdown: images a second, and medians of the ratios within a round (the bank's seconds over the bare ones). The
bank is a new one every time, so that every row is computed.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from tlx.config.groups import LinearHead, NoAugment, ScratchInit, StageCut, TimmBackbone, Trainer, TrunkFreeze
from tlx.data.module import ImageModule
from tlx.data.source import ArrayImages, Source
from tlx.data.transforms import Prepare
from tlx.features.bank import Reader
from tlx.learner.trainer import make_trainer
from tlx.network.network import Network, build
from tlx.preprocessing import Preprocessing
from tlx.results.log import logged

SIZE, BATCH, ROUNDS, IMAGES = 192, 32, 5, 192
LEAST = 1.0  # seconds of a bare pass
Layers = Callable[[Any, int, torch.Tensor], torch.Tensor]


def resnet(model: Any, stage: int, x: torch.Tensor) -> torch.Tensor:
    """Run the stem (stage 0) and the layers behind it."""
    x = model.act1(model.bn1(model.conv1(x)))
    for index in range(stage):
        x = getattr(model, f"layer{index + 1}")(model.maxpool(x) if index == 0 else x)
    return x.mean((2, 3))


def convnext(model: Any, stage: int, x: torch.Tensor) -> torch.Tensor:
    """Run the stem and the stages."""
    return model.stages[: stage + 1](model.stem(x)).mean((2, 3))  # type: ignore[no-any-return]


def efficientnet(model: Any, stage: int, x: torch.Tensor) -> torch.Tensor:
    """Run the stem and the blocks up to the end of an announced stage."""
    x = model.bn1(model.conv_stem(x))
    last = int(model.feature_info[stage]["module"].split(".")[1])
    return model.blocks[: last + 1](x).mean((2, 3))  # type: ignore[no-any-return]


def vit(model: Any, stage: int, x: torch.Tensor) -> torch.Tensor:
    """Run the patches and the blocks; the class token is left out of the average."""
    x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x))))
    return model.blocks[: stage + 1](x)[:, 1:].mean(1)  # type: ignore[no-any-return]


ARCHITECTURES: dict[str, tuple[Layers, tuple[int, ...]]] = {
    "resnet18": (resnet, (0, 1, 2, 3, 4)),
    "convnext_atto": (convnext, (0, 1, 2, 3)),
    "mobilenetv3_large_100": (efficientnet, (0, 1, 2, 3)),
    "vit_tiny_patch16_224": (vit, (2, 5, 8, 11)),
}


@cache
def module(count: int) -> ImageModule:
    """Hold random images in memory."""
    rng = np.random.default_rng(0)
    splits = [
        ArrayImages(s, rng.integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8), np.arange(n) % 2)
        for s, n in (("train", count), ("val", 2), ("test", 2))
    ]
    prepare = Prepare(Preprocessing(SIZE, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))
    return ImageModule(Source(("a", "b"), *splits, in_memory=True), prepare, NoAugment(), BATCH, 0, "none", 0)


def network(name: str, stage: int) -> Network:
    """Cut a backbone behind a stage."""
    backbone, cut = TimmBackbone(name=name), StageCut(stage=stage)
    return build(backbone, ScratchInit(), cut, TrunkFreeze(), LinearHead(pool="avg"), 2, 0, SIZE)[0]


def compared(name: str, layers: Layers, stage: int, least: int, rounds: int) -> tuple[int, float, float, float]:
    """Time both sides; return how many images, images a second of the bank and of the bare pass, and the ratio."""
    net = network(name, stage)
    kwargs = {"img_size": SIZE} if name.startswith("vit") else {}
    model = timm.create_model(name, pretrained=False, **kwargs).eval()
    model.load_state_dict(net.trunk.model.state_dict(), strict=False)
    layout = net.trunk.memory_format
    model = model.to(memory_format=layout)
    trainer = make_trainer(Trainer(accelerator="cpu"))

    def bare(images: ImageModule) -> np.ndarray:
        keys = [(0, index) for index in range(len(images.source.train.labels))]
        with torch.inference_mode():
            batches = images.loader_of("train", keys, False, BATCH)
            return torch.cat(
                [layers(model, stage, b["image"].contiguous(memory_format=layout)) for b in batches]
            ).numpy()

    def bank(images: ImageModule, folder: str) -> np.ndarray:
        return np.asarray(Reader(net, images, trainer, Path(folder)).bank("train").features)

    bare(module(least))
    start = time.perf_counter()
    bare(module(least))
    count = least * math.ceil(LEAST / (time.perf_counter() - start))
    images, seconds = module(count), list[tuple[float, float]]()
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            rows = bank(images, folder)
            between = time.perf_counter()
            expected = bare(images)
            end = time.perf_counter()
        np.testing.assert_allclose(rows, expected, atol=2e-4, rtol=1e-3)  # the same work
        if number:  # the first warms up
            seconds.append((between - start, end - between))
    medians = [count / statistics.median(side) for side in zip(*seconds, strict=True)]
    return count, medians[0], medians[1], statistics.median(ours / theirs for ours, theirs in seconds)


def main() -> None:
    """Print the table."""
    rounds, count = (int(word) for word in [*sys.argv[1:], *map(str, (ROUNDS, IMAGES)[len(sys.argv) - 1 :])])
    with logged(None):
        table(count, rounds)


def table(least: int, rounds: int) -> None:
    """Measure every cut of every architecture."""
    sys.stdout.write(
        "| backbone | stage | images | bank, images/s | bare, images/s | bank / bare |\n|---|---|---|---|---|---|\n"
    )
    for name, (layers, stages) in ARCHITECTURES.items():
        for stage in stages:
            count, ours, theirs, ratio = compared(name, layers, stage, least, rounds)
            sys.stdout.write(f"| {name} | {stage} | {count:,} | {ours:.0f} | {theirs:.0f} | {ratio:.2f} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
