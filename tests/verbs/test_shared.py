"""Real photographs and real ImageNet weights: what the README says of them. Skipped where they are not at hand.

``TLX_SHARED`` names a folder with ``data/hymenoptera`` and ``weights/mobilenetv1_100...safetensors``; by default the
folder ``shared`` beside the checkout.
"""

from __future__ import annotations

import csv
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Answer

SHARED = Path(os.environ.get("TLX_SHARED", Path(__file__).resolve().parents[3] / "shared"))
WEIGHTS = SHARED / "weights" / "mobilenetv1_100.imagenet.upto_blocks_4_0.safetensors"
PHOTOS = SHARED / "data" / "hymenoptera"
PUBLISHED = {"blocks.4.0": 0.94, "blocks.3.5": 0.92, "blocks.3.2": 0.87, "blocks.2.1": 0.82, "blocks.1.1": 0.77}

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"no {WEIGHTS}")]


def test_hymenoptera_by_cut(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    words = ("-m", "case=small_similar", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "data=folder")
    cuts = ("cut=layer", f"cut.name={','.join(PUBLISHED)}", "seed=0,1,2")
    assert tlx(*words, f"data.root={PHOTOS}", *cuts, "hydra.sweep.dir=sweep").code == 0
    found: dict[str, list[float]] = {name: [] for name in PUBLISHED}
    with (tmp_path / "sweep" / "comparison.csv").open() as file:
        for row in csv.DictReader(file):
            name = next(word for word in row["overrides"].split() if word.startswith("cut.name=")).partition("=")[2]
            found[name].append(float(row["test_accuracy"]))
    means = [statistics.mean(values) for values in found.values()]
    assert means[0] >= 0.93
    assert means == sorted(means, reverse=True)
    assert all(abs(mean - near) <= 0.025 for mean, near in zip(means, PUBLISHED.values(), strict=True))


def test_a_cut_behind_the_files_end_is_refused(tlx: Callable[..., Answer]) -> None:
    words = ("case=small_similar", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "data=folder", f"data.root={PHOTOS}")
    answer = tlx(*words, "cut=head")
    assert answer.code == 2
    assert "lacks weights inside what the cut keeps: blocks.4.1" in answer.err
