"""What a frozen case costs, beside programs written by hand: cold, from a warm bank, and in a sweep.

Run: python -m tests.benchmarks.frozen IMAGES WEIGHTS [ROUNDS [EPOCHS]], IMAGES a folder with train/ and val/
(hymenoptera, the PyTorch tutorial's photographs of ants and bees), WEIGHTS a file of mobilenetv1_100 up to blocks.4.0.
Prints Markdown: medians over the rounds (five), and medians of the ratios within a round, in which every side runs
once, in turn, each as a process of its own from its start to its end, from the system's own cache of files. The
yardsticks are those of bare.py. The loop's 25 epochs are timed by EPOCHS (two: the first, in which workers start, and
one for each of the others); give 25 to run them all. tlx's depth profile and its page are off where the yardstick has
none, and timed apart.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALL_EPOCHS = 25
SETTINGS = 50
ROUNDS, EPOCHS = 5, 2


def timed(*command: str) -> tuple[float, str]:
    """Run a program; return its seconds from start to end, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start, done.stdout


class Sides:
    """The programs to compare; each returns its seconds."""

    def __init__(self, images: str, weights: str, epochs: int, scratch: Path) -> None:
        self.bare, self.epochs, self.scratch = (images, weights), epochs, scratch
        self.words = (
            "tlx", "case=small_similar", "backbone=mobilenetv1", f"init.file={weights}", "cut=layer",
            "cut.name=blocks.4.0", "data=folder", f"data.root={images}", "callbacks.progress=false",
            "report=false",
        )  # fmt: skip
        self.count = 0
        self.accuracy: dict[str, list[float]] = {"tlx": [], "loop": []}

    def tlx(self, bank: str, *more: str) -> float:
        """Train once; ``bank`` is the bank's folder."""
        self.count += 1
        folder = self.scratch / f"run{self.count}"
        seconds, _ = timed(*self.words, f"features.dir={self.scratch / bank}", f"hydra.run.dir={folder}", *more)
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        self.accuracy["tlx"].append(result["metrics"]["test"]["accuracy"])
        return seconds

    def cold(self) -> float:
        """Train with an empty bank."""
        return self.tlx(f"cold{self.count}", "features.profile_up_to=0")

    def cold_with_profile(self) -> float:
        """Train with an empty bank, and compare all depths."""
        return self.tlx(f"deep{self.count}")

    def warm(self) -> float:
        """Train again."""
        return self.tlx("warm", "features.profile_up_to=0")

    def warm_with_profile(self) -> float:
        """Train again, and show the profile that is known."""
        return self.tlx("warm_deep")

    def warm_with_page(self) -> float:
        """Train again, and write the page."""
        return self.tlx("warm", "features.profile_up_to=0", "report=true")

    def limit(self) -> float:
        """Decode and pass once."""
        return timed("tests.benchmarks.bare", "limit", *self.bare)[0]

    def imports(self) -> float:
        """Import the packages."""
        return timed("tests.benchmarks.bare", "imports")[0]

    def loop(self) -> float:
        """Train by the plain loop; seconds of all epochs."""
        seconds, told = timed("tests.benchmarks.bare", "loop", *self.bare, str(self.epochs))
        found = json.loads(told)
        self.accuracy["loop"].append(found["best_accuracy"])
        epochs = found["epoch_s"]
        return seconds + (ALL_EPOCHS - len(epochs)) * epochs[-1]

    def setting(self) -> float:
        """Train with so many more settings of the head in a sweep; seconds for each beyond the first."""
        self.count += 1
        strengths = [f"[{0.5 * 0.85**number:.6f}]" for number in range(1 + SETTINGS)]

        def sweep(values: list[str]) -> float:
            folder = self.scratch / f"sweep{self.count}_{len(values)}"
            more = (f"features.dir={self.scratch / 'warm'}", "features.profile_up_to=0", f"hydra.sweep.dir={folder}")
            return timed(*self.words[:1], "-m", *self.words[1:], *more, f"solver.strengths={','.join(values)}")[0]

        return (sweep(strengths) - sweep(strengths[:1])) / SETTINGS


def main() -> None:
    """Print the table."""
    images, weights = (str(Path(word).absolute()) for word in sys.argv[1:3])
    rounds, epochs = (int(word) for word in [*sys.argv[3:], *map(str, (ROUNDS, EPOCHS)[len(sys.argv) - 3 :])])
    with tempfile.TemporaryDirectory() as scratch:
        sides = Sides(images, weights, epochs, Path(scratch))
        order: tuple[Callable[[], float], ...] = (
            sides.cold, sides.limit, sides.loop, sides.warm, sides.imports, sides.cold_with_profile,
            sides.warm_with_profile, sides.warm_with_page, sides.setting,
        )  # fmt: skip
        sides.warm(), sides.warm_with_profile(), sides.limit()  # fill the banks and the system's cache of files
        found: dict[str, list[float]] = {side.__name__: [] for side in order}
        for number in range(rounds):
            for side in order:
                found[side.__name__].append(side())
            told = ", ".join(f"{name} {seconds[-1]:.2f}" for name, seconds in found.items())
            sys.stderr.write(f"round {number + 1}: {told}\n")
    sys.stdout.write(table(found, sides.accuracy, epochs))


def table(found: dict[str, list[float]], accuracy: dict[str, list[float]], epochs: int) -> str:
    """Lay out the seconds and the ratios."""

    def median(name: str) -> float:
        return statistics.median(found[name])

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(found[one], found[other], strict=True))

    rows = [
        ("tlx, from photographs to `result.json`, empty bank", median("cold"), ""),
        (
            f"a plain loop of {ALL_EPOCHS} epochs that reruns the frozen trunk",
            median("loop"),
            f"{ratio('loop', 'cold'):.1f} times as long",
        ),
        ("the limit: imports, decode once, one pass", median("limit"), f"tlx {ratio('cold', 'limit'):.2f} times"),
        ("tlx, bank filled", median("warm"), f"{ratio('warm', 'imports'):.2f} times the imports"),
        ("the imports alone", median("imports"), ""),
        ("tlx with the depth profile, empty bank", median("cold_with_profile"), ""),
        ("tlx with the depth profile, bank filled", median("warm_with_profile"), ""),
        ("tlx, bank filled, with its page", median("warm_with_page"), ""),
        (f"each of {SETTINGS} further settings of the head in a sweep", median("setting"), ""),
    ]
    lines = ["| what | seconds | |", "|---|---|---|", *(f"| {what} | {s:.2f} | {told} |" for what, s, told in rows)]
    if epochs == ALL_EPOCHS:
        of_loop = f"best of {ALL_EPOCHS} epochs on the test images {statistics.median(accuracy['loop']):.3f}"
        lines += ["", f"Accuracy: tlx {statistics.median(accuracy['tlx']):.3f}; the loop, {of_loop}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
