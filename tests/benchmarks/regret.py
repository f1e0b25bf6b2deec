"""What choosing the cut by the depth profile costs: test accuracy of the best single cut minus that of ``cut=auto``.

Run: python -m tests.benchmarks.regret OVERRIDES [/ OVERRIDES ...], one set of images each, such as
``data=digits / data=folder data.root=PATH data.per_class=20 backbone=mobilenetv1 init.file=PATH``. Prints a table in
Markdown: percent, mean and deviation over ten seeds. A seed changes the split, or what is drawn; the choice is made on
that seed's training images, and every head is the product's own solver, its strength chosen on validation images. The
best single cut is the best on the test images of that very seed: an oracle that a noisy test set flatters. Features of
all depths are computed once an image. Of a test set beyond 2,000 images, 2,000 are taken, stratified.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tlx.__main__ import conf_folder
from tlx.config.check import check
from tlx.config.groups import AutoCut, EarlyCut, NoAugment, Trainer
from tlx.config.roots import TrainConfig
from tlx.data.module import ImageModule
from tlx.data.open import open_source
from tlx.data.source import FileImages, Images, Source
from tlx.data.splits import sample
from tlx.data.transforms import Prepare
from tlx.features.bank import Bank
from tlx.features.profile import Place, places, probe_depths
from tlx.features.solver import solve
from tlx.learner.trainer import make_trainer
from tlx.network.cut import resolve
from tlx.network.depths import Depths
from tlx.network.inference import Embedder, predict
from tlx.network.network import Network
from tlx.network.reach import open_depths
from tlx.preprocessing import Preprocessing
from tlx.results.log import logged
from tlx.results.result import data_name

SEEDS = range(10)
MOST_TESTS = 2000


class Found(NamedTuple):
    """One seed: the test accuracy of every depth, the one that ``auto`` takes, and that of all depths at once."""

    singles: np.ndarray
    auto: int
    everything: float


def config_of(overrides: list[str]) -> TrainConfig:
    """Compose what a command line would."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", overrides=overrides), resolve=True)
    return check(plain, TrainConfig)  # type: ignore[arg-type]


def read(depths: Depths | Network, seen: Preprocessing, images: Images, workers: int | None) -> np.ndarray:
    """Compute the features of all depths, side by side, or those of a network."""
    source = Source(("a", "b"), images, images, images, in_memory=not isinstance(images, FileImages))
    module = ImageModule(source, Prepare(seen), NoAugment(), 64, workers, "none", 0)
    return predict(make_trainer(Trainer(accelerator="cpu")), Embedder(depths), module.plain_loader("train")).numpy()


def banks(
    config: TrainConfig, depths: Depths | Network, seen: Preprocessing, seeds: range = SEEDS
) -> list[dict[str, Bank]]:
    """Read every seed's splits, an image file once however many seeds have it."""
    sources = [open_source(config.data, seed) for seed in seeds]
    if not isinstance(sources[0].train, FileImages):
        splits = [{s: x.split(s) for s in ("train", "val")} | {"test": sample(x.test, MOST_TESTS, 0)} for x in sources]
        return [
            {name: Bank(read(depths, seen, images, 0), images.labels) for name, images in split.items()}
            for split in splits
        ]
    test = sample(sources[0].test, MOST_TESTS, 0)
    wanted = [[*x.train.paths, *x.val.paths] for x in sources]  # type: ignore[attr-defined]
    tested = [test.name(index) for index in range(len(test.labels))]
    names = sorted({name for each in [*wanted, tested] for name in each})
    every = FileImages(sources[0].train.root, tuple(names), np.zeros(len(names), np.int64))
    row = dict(zip(names, read(depths, seen, every, config.data.workers), strict=True))

    def bank(images: Images) -> Bank:
        return Bank(np.stack([row[images.name(index)] for index in range(len(images.labels))]), images.labels)

    last = bank(test)
    return [{"train": bank(x.train), "val": bank(x.val), "test": last} for x in sources]


def accuracy(config: TrainConfig, split: dict[str, Bank], columns: list[int]) -> float:
    """Solve a head on some columns and measure it on test images."""
    part = {name: Bank(np.ascontiguousarray(bank.features[:, columns]), bank.labels) for name, bank in split.items()}
    classes = int(part["train"].labels.max()) + 1
    solution = solve(part["train"], part["val"], classes, config.solver, None)
    logits = part["test"].features @ solution.weight.T + solution.bias
    return float((logits.argmax(1) == part["test"].labels).mean())


def measure(config: TrainConfig) -> tuple[list[Place], int, list[Found], float]:
    """Measure one set of images; returns the depths, where ``early`` is, the seeds, and seconds a profile."""
    depths, costs, seen = open_depths(config.backbone, config.init, 0, config.data.image_size)
    early = resolve(depths.model, EarlyCut(), seen.image_size).stage or 0
    ends = np.cumsum(depths.widths)
    spans = [list(range(end - width, end)) for end, width in zip(ends, depths.widths, strict=True)]
    together = [k for point, span in zip(depths.points, spans, strict=True) if point.kind != "head" for k in span]
    found, seconds, known = [], 0.0, []
    for seed, split in enumerate(banks(config, depths, seen)):
        start = time.perf_counter()
        features = np.asarray(split["train"].features)
        found_at = places(depths.points, depths.widths, costs, features)
        listed = [(place, features[:, columns]) for place, columns in found_at]
        profile = probe_depths(listed, split["train"].labels, AutoCut(), seed)
        seconds += time.perf_counter() - start
        known = [place for place, _ in listed]
        singles = np.array([accuracy(config, split, span) for span in spans[: len(known)]])
        found.append(Found(singles, profile.auto, accuracy(config, split, together)))
        sys.stderr.write(f"seed {seed}: {np.round(singles, 3)} auto {known[profile.auto].name}\n")
    return known, early, found, seconds / len(found)


def line(config: TrainConfig) -> str:
    """Measure a set and lay out its row."""
    known, early, found, seconds = measure(config)
    singles = np.stack([each.singles for each in found])
    auto = np.array([each.singles[each.auto] for each in found])
    regret, favourite = singles.max(1) - auto, int(singles.mean(0).argmax())
    taken = [known[each.auto].name for each in found]
    counts = ", ".join(f"{name} {taken.count(name)}" for name in dict.fromkeys(p.name for p in known) if name in taken)
    cells = [
        data_name(config), shown(regret), shown(singles.max(1)), shown(auto),
        f"{shown(singles[:, favourite])} ({known[favourite].name})", shown(singles[:, early]), shown(singles[:, -1]),
        shown(np.array([each.everything for each in found])), counts, f"{seconds:.1f} s",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def shown(values: np.ndarray) -> str:
    """Show mean and sample deviation in percent."""
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f}"


def main() -> None:
    """Print the table."""
    heads = (
        "images", "regret of auto", "best single cut of each seed", "auto", "best single cut on average", "early",
        "deepest", "all", "auto took", "a profile",
    )  # fmt: skip
    sys.stdout.write(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    configs = [config_of(words.split()) for words in " ".join(sys.argv[1:]).split(" / ")]
    with logged(None):
        for config in configs:
            sys.stdout.write(line(config) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
