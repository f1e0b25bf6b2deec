"""The truth: every strategy trained on every task, three seeds each, kept as a table beside this file.

Run: python -m tests.benchmarks.advice.truth [--hymenoptera PATH] [--cifar10 PATH] [--weights FILE]
    [--scratch PATH] [--backbone NAME] [--seed N] [--minutes M]

``--hymenoptera``: the PyTorch tutorial's photographs, with train/ and val/; ``--cifar10``: CIFAR-10 as files, with
train/ and test/; ``--weights``: mobilenetv1_100 up to blocks.4.0, as safetensors. Tasks that need what is not given
are left out. A row that stands in the table is not made again, so that this can be interrupted and continued, and
after so many minutes begins nothing new; a seed's rows of all tasks are made before the next seed's. Hours on two
cores; ``--backbone embedded``, ``--backbone mobilenetv1`` and ``--seed N`` choose what one of several processes does.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.advice.tasks import Places, Task, known, strategies

TABLE = Path(__file__).with_name("truth.csv")
COLUMNS = ("task", "strategy", "seed", "images", "val_accuracy", "test_accuracy", "test_images")
SEEDS = (0, 1, 2)
QUIET = (
    "callbacks.progress=false", "report=false", "trainer=cpu", "trainer.precision=32", "features.profile_up_to=0",
    "data.workers=0",
)  # fmt: skip

Row = dict[str, Any]


def rows() -> list[Row]:
    """Read the table."""
    if not TABLE.is_file():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(row: Row) -> None:
    """Add a row to the table."""
    new = not TABLE.is_file()
    with TABLE.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def measured(words: list[str], places: Places) -> Row:
    """Train once; return what the result says."""
    from tlx.notebook import train

    folder = places.scratch / f"run{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        result = train(*words, *QUIET, f"hydra.run.dir={folder}").result
    metrics, images = result["metrics"], result["images"]
    return {
        "images": images["train"],
        "val_accuracy": f"{metrics['val']['accuracy']:.5f}",
        "test_accuracy": f"{metrics['test']['accuracy']:.5f}",
        "test_images": images["test"],
    }


def complete(task: Task, seed: int, places: Places, until: float) -> None:
    """Train what is missing of a task with a seed."""
    done = {row["strategy"] for row in rows() if (row["task"], row["seed"]) == (task.name, str(seed))}
    images = next((int(row["images"]) for row in rows() if row["task"] == task.name), None)
    base = task.words(places, seed)
    if images is None:
        images = _images(base, places)
    for strategy, words in strategies(task, places, images).items():
        if strategy in done:
            continue
        if time.monotonic() > until:
            raise SystemExit("time is up; run it again to go on")
        row = {
            "task": task.name,
            "strategy": strategy,
            "seed": seed,
            **measured([*words[:1], *base, *words[1:]], places),
        }
        keep(row)
        print(f"{task.name:32} {strategy:20} {seed} {row['test_accuracy']}", file=sys.stderr)


def _images(words: list[str], places: Places) -> int:
    """Count the training images that a task has when a part of them validates."""
    return int(measured(["case=small_similar", *words, "init=scratch", "cut=stage", "cut.stage=0"], places)["images"])


def asked_for() -> tuple[Places, tuple[int, ...], str, float]:
    """Read the command line: where everything is, which seeds, which backbone (all if empty), and until when."""
    parser = argparse.ArgumentParser()
    for name in ("hymenoptera", "cifar10", "weights", "scratch"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--backbone", default="")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    asked = parser.parse_args()
    scratch = asked.scratch or Path(tempfile.mkdtemp())
    scratch.mkdir(exist_ok=True)
    places = Places(asked.hymenoptera, asked.cifar10, asked.weights, scratch)
    seeds = SEEDS if asked.seed is None else (asked.seed,)
    return places, seeds, asked.backbone, time.monotonic() + 60 * asked.minutes


def main() -> None:
    """Complete the table."""
    places, seeds, backbone, until = asked_for()
    os.environ["TLX_CACHE"] = str(places.scratch / "cache")
    for seed in seeds:
        for task in known(places):
            if backbone in ("", task.backbone):
                complete(task, seed, places, until)


if __name__ == "__main__":
    main()
