"""Plots show what they are given, follow the page's colours, and escape what stands in them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchmetrics.classification import MulticlassCalibrationError

from tlx.results.page import plots
from tlx.results.page.figure import BLUE, VARIABLES, as_png, as_svg

HOSTILE = ["<script>alert(1)</script>", "$\\alpha$", "a & b", "\udcff", "two\nlines"]


def rows(phases: list[str]) -> list[dict[str, str]]:
    return [
        {"phase": phase, "epoch": str(i), "train/loss": "1.5", "val/loss": f"{1 / (i + 1)}", "train/accuracy": "0.5",
         "val/accuracy": "0.75"}
        for i, phase in enumerate(phases)
    ]  # fmt: skip


def figures():
    matrix = np.array([[9, 1, 0, 0, 0], [2, 5, 0, 0, 0], [0, 0, 3, 0, 1], [0, 0, 0, 4, 0], [0, 0, 0, 0, 0]])
    yield plots.curves(rows(["probe", "probe", "finetune"]), "loss", 1)
    yield plots.curves(rows(["train"]), "accuracy", None)
    yield plots.confusion(matrix, HOSTILE)
    yield plots.confusion(np.eye(60, dtype=int), [f"class {i}" for i in range(60)], [(0, 1)])
    yield plots.reliability(plots.bins(np.linspace(0.2, 1, 50), np.arange(50) % 2 == 0))
    yield plots.cost([(name, 2.0 + i, 0.5) for i, name in enumerate(HOSTILE)])
    yield plots.together([(index, name, rows(["train"] * 3)) for index, name in enumerate(HOSTILE)])


@pytest.mark.parametrize("index", range(7))
def test_a_plot_is_a_sound_svg_whose_colours_are_the_pages(index: int, tmp_path: Path) -> None:
    figure = list(figures())[index]
    svg = as_svg(figure, "plot")
    ElementTree.fromstring(svg)
    assert "<script" not in svg
    assert not any(colour in svg for colour in VARIABLES)
    assert "var(--" in svg
    assert all(name.startswith("plot-") for name in re.findall(r'id="([^"]+)"', svg))
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    assert used <= set(re.findall(r'id="([^"]+)"', svg))
    as_png(figure, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.getpixel((0, 0))[:3] == (255, 255, 255)  # a slide is white
    assert as_svg(list(figures())[index], "plot") == svg  # the same page for the same run


def test_without_variables_a_plot_has_matplotlibs_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.results.page.figure.VARIABLES", {})
    assert BLUE in as_svg(plots.curves(rows(["train"]), "loss", None), "plot")


def test_cells_show_their_counts_or_the_numbers_of_the_table() -> None:
    few = as_svg(plots.confusion(np.array([[123, 45], [6, 789]]), ["a", "b"]), "few")
    assert all(f">{count}<" in few for count in (123, 45, 6, 789))
    many = as_svg(plots.confusion(np.eye(30, dtype=int) * 77, [f"c{i}" for i in range(30)], [(0, 1), (3, 2)]), "many")
    assert ">77<" not in many
    assert ">2<" in many


@given(st.lists(st.tuples(st.integers(0, 999), st.booleans()), min_size=1, max_size=60))
def test_bins_are_those_of_the_calibration_error(drawn: list[tuple[int, bool]]) -> None:
    first = torch.tensor([(part + 0.5) / 1000 for part, _ in drawn])  # never at the edge of a bin
    pairs = torch.stack([first, 1 - first], 1)
    right = torch.tensor([hit for _, hit in drawn])
    probability, surer = pairs.max(1)
    found = plots.bins(probability.double().numpy(), right.numpy())
    assert sum(row["images"] for row in found) == len(drawn)
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in found)
    error = sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in found) / len(drawn)
    labels = torch.where(right, surer, 1 - surer)
    assert error == pytest.approx(float(MulticlassCalibrationError(2, n_bins=15)(pairs, labels)), abs=1e-5)


def test_a_run_has_one_colour_on_its_whole_page() -> None:
    """A run that was solved has no curve, and the next one keeps the colour that it has among all."""
    all_of_them = plots.cost([("solved", 1.0, 0.9), ("trained", 5.0, 0.8)]).axes[0].get_lines()
    (curve,) = plots.together([(1, "trained", rows(["train"] * 3))]).axes[0].get_lines()
    assert curve.get_color() == all_of_them[1].get_color() != all_of_them[0].get_color()
