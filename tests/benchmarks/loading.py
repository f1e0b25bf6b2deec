"""Reading photographs epoch by epoch: images a second, against torchvision's ImageFolder.

Run: python -m tests.benchmarks.loading [IMAGES [WORKERS]]. Makes so many JPEG photographs of 2 megapixels, and reads
them as a DataLoader with the same transform, batches and workers does; both sides in turn, five times each. Prints a
table in Markdown: medians, and the median of the paired ratios. The files stay in the system's own cache, so that
decoding is measured and not the disk. Whether the two sides see the same is measured too, on the test transform.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tlx.config.groups import FolderData, NoAugment, StandardAugment
from tlx.data.module import ImageModule
from tlx.data.open import open_source
from tlx.data.transforms import Prepare
from tlx.preprocessing import Preprocessing

MEAN, STD, SIZE, CROP = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 0.875
ROUNDS, BATCH = 5, 32
Loop = Callable[[], int]


def photographs(root: Path, count: int) -> None:
    """Make photographs of 1,632 x 1,224 pixels: coarse shapes, fine texture, as large as a camera's (0.6 MB)."""
    for index in range(count):
        generator = np.random.default_rng(index)
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        image = np.asarray(coarse.resize((1632, 1224), Image.Resampling.BICUBIC)).astype(np.int16)
        image = image + generator.normal(0, 6, image.shape).astype(np.int16)
        folder = root / f"{'train' if index % 4 else 'val'}" / "ab"[index // 4 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{index:05d}.jpg", quality=90)


def reference(root: Path, steps: list[v2.Transform], workers: int) -> Loop:
    """Read an epoch as torchvision's documentation does it."""
    after = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    images = ImageFolder(str(root), v2.Compose([*steps, *after]))
    loader: Any = DataLoader(images, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda: sum(len(labels) for _, labels in loader)


def ours(root: Path, augment: Any, workers: int, cache: str, folder: Path) -> Loop:
    """Read an epoch of training images as a run does it."""
    source = open_source(FolderData(root=str(root), split=[0.9, 0.05, 0.05]), 0)
    prepare = Prepare(Preprocessing(SIZE, MEAN, STD, "bicubic", CROP))
    images = ImageModule(source, prepare, augment, BATCH, workers, "none", 0, cache=cache, cache_dir=folder)
    loader = images.train_dataloader()
    state = {"epoch": 0}

    def epoch() -> int:
        images.order.set_epoch(state["epoch"])
        state["epoch"] += 1
        return sum(len(batch["label"]) for batch in loader)

    return epoch


def paired(one: Loop, other: Loop) -> tuple[float, float, float]:
    """Time both in turn: the median images a second of each, and the median of the paired ratios."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for loop, found in zip((one, other), rates, strict=True):
            started = time.perf_counter()
            count = loop()
            found.append(count / (time.perf_counter() - started))
    return (
        statistics.median(rates[0]),
        statistics.median(rates[1]),
        statistics.median(b / a for a, b in zip(*rates, strict=True)),
    )


def main() -> None:
    """Print the table."""
    count, workers = [*map(int, sys.argv[1:]), 400, 2][:2] if len(sys.argv) < 3 else map(int, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as made:
        root, kept = Path(made) / "photographs", Path(made) / "cache"
        photographs(root, count)
        bicubic = v2.InterpolationMode.BICUBIC
        plain = [v2.Resize(round(SIZE / CROP), bicubic), v2.CenterCrop(SIZE)]
        standard = StandardAugment()
        jitter = v2.ColorJitter(standard.jitter, standard.jitter, standard.jitter)
        crop = v2.RandomResizedCrop(SIZE, tuple(standard.scale), tuple(standard.ratio), bicubic)
        drawn = [crop, v2.RandomHorizontalFlip(standard.flip), jitter]
        print(f"{count} photographs of 2 megapixels, {workers} workers on {os.cpu_count()} cores\n")
        print("| transform | cache | ImageFolder, images/s | tlx, images/s | times as fast |\n|---|---|---|---|---|")
        for name, steps, augment in (("augment=none", plain, NoAugment()), ("augment=standard", drawn, standard)):
            base = reference(root / "train", steps, workers)
            base()  # starts its workers
            for cache in ("none", "ram", "disk"):
                loop = ours(root, augment, workers, cache, kept)
                loop()  # starts its workers, fills the cache
                a, b, ratio = paired(base, loop)
                print(f"| {name} | {cache} | {a:.0f} | {b:.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
