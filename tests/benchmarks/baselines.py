"""What no network at all reaches on the embedded sets: logistic regression on raw pixels and on colour statistics.

Run: python -m tests.benchmarks.baselines. Prints test accuracy, mean and deviation over three seeds. The pixels are
grey, 24 x 24; the colour statistics a channel's mean, deviation and 16-bin histogram. The solver and its choice of
strength on validation data are those of tlx; large sets use their first 5,000 training images.
"""

from __future__ import annotations

import sys

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tlx.__main__ import conf_folder
from tlx.config.check import check
from tlx.config.groups import LbfgsSolver
from tlx.config.roots import TrainConfig
from tlx.data.open import open_source
from tlx.data.source import Images
from tlx.features.bank import Bank
from tlx.features.solver import solve

SETS = ("digits", "patches", "greek", "rotated_patches")
SEEDS = (0, 1, 2)
MOST = 5000


def pixels(images: np.ndarray) -> np.ndarray:
    """Average channels and 2 x 2 blocks: (N, 48, 48, 3) to (N, 576)."""
    grey = images.mean(3)
    return grey.reshape(len(grey), 24, 2, 24, 2).mean((2, 4)).reshape(len(grey), -1).astype(np.float32)


def colours(images: np.ndarray) -> np.ndarray:
    """Take a channel's mean, deviation and histogram: (N, 48, 48, 3) to (N, 54)."""
    flat = images.reshape(len(images), -1, 3)
    bins = np.stack([(flat // 16 == level).mean(1) for level in range(16)], 1).reshape(len(images), -1)
    return np.hstack([flat.mean(1) / 255, flat.std(1) / 255, bins]).astype(np.float32)


def accuracy(data: str, seed: int, describe: object) -> float:
    """Solve on a description of the images and measure on the test split."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", overrides=[f"data={data}"]))
    source = open_source(check(plain, TrainConfig).data, seed)  # type: ignore[arg-type]

    def bank(images: Images, most: int | None = None) -> Bank:
        return Bank(describe(images.images[:most]), images.labels[:most])  # type: ignore[attr-defined,operator]

    solution = solve(bank(source.train, MOST), bank(source.val), len(source.classes), LbfgsSolver(), None)
    test = bank(source.test)
    return float(((test.features @ solution.weight.T + solution.bias).argmax(1) == test.labels).mean())


def main() -> None:
    """Print the table."""
    for name, describe in (("raw pixels", pixels), ("colour statistics", colours)):
        for data in SETS:
            found = [accuracy(data, seed, describe) for seed in SEEDS]
            sys.stdout.write(f"{name:18} {data:16} {np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
