"""A card's own code, run as a person would run it, in a process that cannot import what it does not need."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tlx.storage import read_json

# What each format does without: what is None cannot be imported.
WITHOUT = {
    "onnx": ("torch", "timm", "tlx", "onnx"),
    "torch_export": ("timm", "tlx"),
    "timm": ("tlx",),
    "safetensors": (),
}
LOOP = """import sys
for name in {without}:
    sys.modules[name] = None
exec({first!r})
for line in sys.stdin.read().splitlines():
    exec({then!r}.replace('"image.jpg"', repr(line)))
"""


def said_of(folder: Path, images: list[Path], format: str) -> list[tuple[str, float]]:
    """Return the class and the probability that the card's code prints for each image."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    begun = code.rindex("\n", 0, code.index('"image.jpg"'))  # the line from which on an image is meant
    loop = LOOP.format(without=WITHOUT[format], first=code[:begun], then=code[begun:])
    done = subprocess.run(
        [sys.executable, "-c", loop],
        input="\n".join(map(str, images)),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    return [(name, float(probability)) for name, probability in rows]


def check_against_run(run: Path, format: str, file: Callable[[str], Path], every: int = 1, close: float = 1e-4) -> None:
    """Given the run's test files, the code gives the run's own predictions, and with all of them its accuracy."""
    with (run / "predictions.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == "test"][::every]
    said = said_of(run / "export" / format, [file(row["image"]) for row in rows], format)
    assert [name for name, _ in said] == [row["predicted"] for row in rows]
    assert np.allclose([share for _, share in said], [float(row["probability"]) for row in rows], atol=close)
    if every == 1:
        right = [name == row["label"] for (name, _), row in zip(said, rows, strict=True)]
        assert np.mean(right) == pytest.approx(read_json(run / "result.json")["metrics"]["test"]["accuracy"])
