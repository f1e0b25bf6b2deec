"""Train heads on rows of features on disk: ``python -m tests.benchmarks.rows [SOLVER ...] [ROWS ...]``.

Draws 1,024 features of ten overlapping classes into a temporary file (4 GB for a million rows), solves a head on them
in a process of its own, and prints a table in Markdown: seconds, the most resident memory of that process (VmHWM, what
its imports take included), and accuracy on 10,000 rows drawn alike. By default lbfgs, ridge and ncm, and 10,000,
100,000 and 1,000,000 rows.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tlx.features.rows import Rows
from tlx.features.shard import ID_BYTES, Shard

WIDTH, CLASSES, BLOCK = 1024, 10, 10_000
SOLVERS, COUNTS = ("lbfgs", "ridge", "ncm"), (10_000, 100_000, 1_000_000)

SOLVE = """
import sys, time
from pathlib import Path
import numpy as np
from tests.benchmarks.rows import mapped
from tlx.config.groups import LbfgsSolver, NcmSolver, RidgeSolver
from tlx.features.bank import Bank
from tlx.features.chunks import classify
from tlx.features.solver import solve

folder, config = Path(sys.argv[1]), {k.kind: k for k in (LbfgsSolver, NcmSolver, RidgeSolver)}[sys.argv[2]]()
banks = {s: Bank(mapped(folder / f"{s}.f32"), np.load(folder / f"{s}.npy")) for s in ("train", "val", "test")}
started = time.perf_counter()
solution = solve(banks["train"], banks["val"], 10, config)
seconds = time.perf_counter() - started
logits = classify(banks["test"].features, solution.weight, solution.bias)
accuracy = float((logits.argmax(1).numpy() == banks["test"].labels).mean())
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) / 1024
for row in solution.path:
    print(row, file=sys.stderr)
count = len(banks["train"].labels)
print(f"| {sys.argv[2]} | {count:,} | {seconds:.1f} | {peak:,.0f} MB | {accuracy:.4f} | {solution.strength} |")
"""


def mapped(path: Path) -> Rows:
    """Return the rows of a file as those of a bank."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    rows = np.frombuffer(content, np.float32).reshape(-1, WIDTH)
    shard = Shard(np.zeros((len(rows), ID_BYTES), np.uint8), rows, mapped=content)
    return Rows([shard], np.zeros(len(rows), np.int64), np.arange(len(rows)), WIDTH)


def draw(folder: Path, split: str, count: int) -> None:
    """Write rows (count, 1024) of correlated features whose classes overlap, and their labels."""
    shared = np.random.default_rng(0)
    centres = shared.normal(size=(CLASSES, WIDTH)).astype(np.float32) * np.float32(0.1)
    mixing = shared.normal(size=(WIDTH, 64)).astype(np.float32) / np.float32(8)
    rng = np.random.default_rng([count, len(split)])
    labels = rng.integers(0, CLASSES, count)
    with (folder / f"{split}.f32").open("wb") as file:
        for start in range(0, count, BLOCK):
            own = labels[start : start + BLOCK]
            common = rng.standard_normal((len(own), 64), np.float32) @ mixing.T
            noise = rng.standard_normal((len(own), WIDTH), np.float32)
            np.maximum(centres[own] + common + noise, 0, out=noise)  # as behind a ReLU
            noise.tofile(file)
    np.save(folder / f"{split}.npy", labels)


def main() -> None:
    """Print the table."""
    counts = [int(word) for word in sys.argv[1:] if word.isdigit()] or COUNTS
    solvers = [word for word in sys.argv[1:] if not word.isdigit()] or SOLVERS
    sys.stdout.write("| solver | rows | seconds | memory | accuracy | strength |\n|---|---|---|---|---|---|\n")
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            for split, size in (("train", count), ("val", 10_000), ("test", 10_000)):
                draw(Path(place), split, size)
            for solver in solvers:
                subprocess.run([sys.executable, "-c", SOLVE, place, solver], check=True)


if __name__ == "__main__":
    main()
