"""What advice costs: what ``case=auto`` adds to a training, beside full fine-tuning, and what ``advise`` takes alone.

Run: python -m tests.benchmarks.advice.cost [--hymenoptera PATH] [--cifar10 PATH] [--weights FILE] [--scratch PATH]

Whole processes from empty caches, one after the other. ``advise`` takes what ``case=auto`` adds, and the imports that
every command takes, which are measured beside it. On tasks above 1,000 training images what is added is a share of the
whole of full fine-tuning; below, it is seconds beyond a pass over the images. Prints Markdown.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

from tests.benchmarks.advice.tasks import Places, Task, known, strategies
from tests.benchmarks.advice.truth import asked_for, rows

SMALL = 1000  # training images
CHOSEN = (
    "cifar10-200-mobilenetv1", "cifar10-500-mobilenetv1", "cifar10-200-embedded", "cifar10-500-embedded",
    "greek-100-embedded", "patches-200-embedded", "rotated_patches-100-embedded", "rotated_patches-400-embedded",
    "hymenoptera-120-mobilenetv1", "cifar10-50-mobilenetv1", "digits-20-embedded",
)  # fmt: skip
QUIET = ("callbacks.progress=false", "report=false", "trainer=cpu")


def took(verb: list[str], words: list[str], places: Places, folder: str) -> float:
    """Run one command from empty caches; return its seconds."""
    cache, out = places.scratch / "cost_cache", places.scratch / "cost_out"
    for old in (cache, out):
        shutil.rmtree(old, ignore_errors=True)
    command = [sys.executable, "-m", "tlx", *verb, *words, *QUIET, f"{folder}={out}"]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TLX_CACHE": str(cache)})
    return time.monotonic() - started


def compare(task: Task, places: Places) -> None:
    """Print a task's row."""
    base = task.words(places, 0)
    images = next(int(row["images"]) for row in rows() if row["task"] == task.name)
    weights = [f"init.file={places.weights}"] if task.backbone == "mobilenetv1" else []
    chosen = strategies(task, places, images)
    kind = "full" if images > SMALL else "trunk, all depths"
    advice = took(["advise"], [*base, *weights], places, "output")
    added = json.loads((places.scratch / "cost_out" / "advice.json").read_text("utf-8"))["seconds"]
    other = took([], [*chosen[kind][:1], *base, *chosen[kind][1:]], places, "hydra.run.dir")
    told = f"{100 * added / other:.0f} % of it" if images > SMALL else f"{added:.0f} s"
    print(f"| {task.name} | {images:,} | {kind} {other:.1f} s | {told} ({added:.1f} s) | {advice:.1f} s |", flush=True)


def main() -> None:
    """Print the table."""
    places, *_ = asked_for()
    print("| task | training images | beside it | `case=auto` adds | `advise` alone |\n|---|---|---|---|---|")
    for task in known(places):
        if task.name in CHOSEN:
            compare(task, places)


if __name__ == "__main__":
    main()
