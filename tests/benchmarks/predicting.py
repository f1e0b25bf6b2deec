"""What predict costs beside a bare loop that decodes and computes, and how much memory it takes.

Run: python -m tests.benchmarks.predicting RUN [IMAGES [WORKERS [ROUNDS [SIDE]]]]: a finished run's folder, 100,000
generated JPEG files of 64 x 64 pixels in 100 folders, read by one worker, three rounds. The bare loop is a DataLoader
over the same files with the same transform and as many workers, and a forward pass of the same network in batches of
the same size in inference mode, which keeps nothing. Predict runs with as many workers, and as it comes. All sides run
once in each round, in turn, each as a process of its own that tells its seconds without imports. Prints Markdown:
medians, medians of the ratios to the bare loop within a round, and the largest memory of the whole process tree.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

CLASSES, BATCH = 100, 64


def photographs(root: Path, count: int, side: int) -> None:
    """Make JPEG files of coarse shapes and some texture, another one each."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (CLASSES, 8, 8, 3), dtype=np.uint8)
    shapes = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in coarse]
    texture = rng.integers(-12, 12, (side, side, 3))
    for index in range(count):
        folder = root / f"{index % CLASSES:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.roll(shapes[index % CLASSES], index // CLASSES, (0, 1)) + texture
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index:06d}.jpg", quality=85)


def bare(run: str, images: str, workers: int) -> float:
    """Return the seconds of a plain loop."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    from tlx.config.roots import OwnBackbone
    from tlx.data.transforms import Prepare
    from tlx.verbs.finished import open_finished

    started = time.perf_counter()
    model = open_finished(run, OwnBackbone()).model
    seen = model.preprocessing
    prepare = Prepare(seen)

    class Files(Dataset[torch.Tensor]):
        paths = sorted(Path(images).rglob("*.jpg"))

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> torch.Tensor:
            return prepare(Image.open(self.paths[index]).convert("RGB"))

    with torch.inference_mode():
        for batch in DataLoader(Files(), BATCH, num_workers=workers):
            model.network(batch).argmax(1)
    return time.perf_counter() - started


def ours(run: str, images: str, workers: int | None, output: str) -> float:
    """Return the seconds of ``predict``."""
    from tlx.config.groups import Trainer
    from tlx.config.roots import PredictConfig
    from tlx.results.log import logged
    from tlx.verbs.predict import predict

    trainer = Trainer(accelerator="cpu")
    config = PredictConfig(trainer, run=run, images=images, output=output, batch_size=BATCH, workers=workers)
    with logged(None):
        started = time.perf_counter()
        predict(config)
    return time.perf_counter() - started


class Cost(NamedTuple):
    """Seconds from start to end, seconds of all cores together with the imports, and the largest memory in MB."""

    seconds: float
    processor: float
    memory: float


def side(name: str, run: str, images: str, workers: int) -> Cost:
    """Run one side as a process; return what it cost, its workers included."""
    before = spent()
    words = [sys.executable, "-m", __spec__.name, f"--{name}", run, images, str(workers)]
    environment = {**os.environ, "GOMP_SPINCOUNT": "2000"}  # for both, as the command line sets it
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    largest = 0.0
    while process.poll() is None:
        largest = max(largest, memory(process.pid))
        time.sleep(0.1)
    assert process.stdout is not None
    told = process.stdout.read()
    if process.returncode:
        raise SystemExit(told)
    return Cost(float(json.loads(told.splitlines()[-1])), spent() - before, largest)


def spent() -> float:
    """Return the seconds that ended processes have computed, on all cores together."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory(pid: int) -> float:
    """Return the memory of a process and its children in MB, of what they share each its part."""
    try:
        own = next(line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line[:4] == "Pss:")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, StopIteration):  # it has just ended
        return 0.0
    return int(own.split()[1]) / 1000 + sum(memory(int(child)) for child in children)


def main() -> None:
    """Print the table, or run one side."""
    if sys.argv[1].startswith("--"):
        run, images, workers = sys.argv[2], sys.argv[3], int(sys.argv[4])
        with tempfile.TemporaryDirectory() as output:
            if sys.argv[1] == "--bare":
                found = bare(run, images, workers)
            else:
                found = ours(run, images, workers if sys.argv[1] == "--predict" else None, output)
        print(json.dumps(found))
        return
    given = [int(word) for word in sys.argv[2:]]
    count, workers, rounds, pixels = [*given, *(100_000, 1, 3, 64)[len(given) :]]
    costs: dict[str, list[Cost]] = {"bare": [], "predict": [], "default": []}
    with tempfile.TemporaryDirectory() as images:
        photographs(Path(images), count, pixels)
        for _ in range(rounds):
            for name, found in costs.items():
                found.append(side(name, sys.argv[1], images, workers))
                sys.stderr.write(f"{name}: {found[-1]}\n")
    print(table(count, workers, pixels, costs))


def table(count: int, workers: int, pixels: int, costs: dict[str, list[Cost]]) -> str:
    """Lay out the measurements."""
    titles = {"bare": f"bare loop, workers={workers}", "predict": f"predict, workers={workers}", "default": "predict"}
    lines = [f"{count:,} files of {pixels} px", ""]
    lines += ["| side | images/s | seconds | processor seconds | memory, MB |", "|---|---|---|---|---|"]
    for name, found in costs.items():
        pairs = list(zip(found, costs["bare"], strict=True))
        wall = statistics.median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        work = statistics.median(ours.processor / theirs.processor for ours, theirs in pairs)
        seconds = statistics.median(cost.seconds for cost in found)
        processor = statistics.median(cost.processor for cost in found)
        parts = [titles[name], f"{count / seconds:,.0f}", f"{seconds:.1f} ({wall:.2f} times)",
                 f"{processor:.1f} ({work:.2f} times)", f"{max(cost.memory for cost in found):,.0f}"]  # fmt: skip
        lines.append(f"| {' | '.join(parts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
