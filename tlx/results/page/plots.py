"""Plots: learning curves, confusion matrix and reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlx.results.console import printable
from tlx.results.page.figure import BLUE, GREEN, GREY, INK, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERED = 12  # classes up to which every cell shows its count
NAMED = 40  # classes up to which each has its name at the axes
NAME = 16  # letters of such a name
LABEL = 30  # letters of a run's label
LABELLED = 12  # runs that are named in a plot
MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")
SERIES = (BLUE, ORANGE, GREEN, GREY)
STROKES = ("-", "--", ":")
BINS = 15  # of the reliability diagram, as of the calibration error


def curves(rows: Sequence[dict[str, float | str]], what: str, best: int | None) -> Figure:
    """Draw ``what`` ("loss" or "accuracy") of training and validation by epoch; ``best`` is the row that is kept.

    Epochs are counted from 1 over all phases; each phase begins at a line.
    """
    from matplotlib.ticker import MaxNLocator

    with drawing(4.7, 3.0) as (figure, axes):
        x = np.arange(1, len(rows) + 1)
        for part, colour, mark, words in (
            ("train", ORANGE, "s", "training, augmented"),
            ("val", BLUE, "o", "validation"),
        ):
            y = np.array([float(row.get(f"{part}/{what}") or "nan") for row in rows], float)
            scale = 100 if what == "accuracy" else 1
            axes.plot(x, scale * y, color=colour, marker=mark, markersize=4, linewidth=1.6, label=words)
            if part == "val" and best is not None:
                ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.3}
                axes.plot(x[best], scale * y[best], "o", markersize=12, label="kept", **ring)  # type: ignore[arg-type]
        phases = [str(row["phase"]) for row in rows]
        for index in range(1, len(rows)):
            if phases[index] != phases[index - 1]:
                axes.axvline(index + 0.5, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
        if len(set(phases)) > 1:
            for name in dict.fromkeys(phases):
                start = phases.index(name)
                where = (start + 0.6 if start else 0.6, 1.0)
                axes.annotate(name, where, (2, 3), axes.get_xaxis_transform(), "offset points", fontsize=8, color=GREY)
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy, %" if what == "accuracy" else "loss, nats")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, len(rows) + 0.5)
        axes.legend(frameon=False, fontsize=8)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str], marked: Sequence[tuple[int, int]] = ()) -> Figure:
    """Draw a confusion matrix (K, K) of counts, rows true: what is right in blue, what is wrong in orange.

    A colour says which share of a row a cell has, a small one more strongly than it is. ``marked`` cells (true,
    predicted) have a number from 1 on, where single cells do not show theirs.
    """
    count = len(classes)
    side = min(max(3.4, 0.34 * count + 1.4), 8.6)
    with drawing(side + 0.2, side) as (figure, axes):
        from matplotlib.colors import to_rgb

        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        picture = np.zeros((count, count, 4))
        picture[..., :3] = to_rgb(ORANGE)
        picture[..., 3] = np.sqrt(shares)
        right = np.arange(count)
        picture[right, right, :3] = to_rgb(BLUE)
        picture[right, right, 3] = shares[right, right]
        axes.imshow(picture, interpolation="none")
        axes.grid(visible=False)
        for name in ("top", "right"):
            axes.spines[name].set_visible(True)
        if count <= NUMBERED:
            for row, column in zip(*np.nonzero(matrix), strict=True):
                strong = picture[row, column, 3] > 0.55
                ink = "white" if strong else INK
                axes.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", fontsize=8, color=ink)
        else:
            for number, (row, column) in enumerate(marked, 1):
                axes.annotate(
                    str(number), (column, row), (5, 5), textcoords="offset points", fontsize=8, color=INK, weight="bold"
                )
        if count <= NAMED:
            names = [_short(name) for name in classes]
            small = 8 if count <= 20 else 6.5
            axes.set_xticks(right, names, rotation=90, fontsize=small)
            axes.set_yticks(right, names, fontsize=small)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
    return figure


def reliability(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw how often predictions are right by how sure they are; ``rows`` as :func:`bins` returns them."""
    with drawing(4.2, 3.4) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="as sure as right")
        most = max((row["images"] for row in rows), default=1)
        for row in rows:
            low, width = 100 * row["low"], 100 * (row["high"] - row["low"])
            axes.bar(
                low, 100 * row["accuracy"], width, align="edge", color=BLUE, alpha=0.25 + 0.55 * row["images"] / most,
                edgecolor=BLUE, linewidth=0.8,
            )  # fmt: skip
        sure = [100 * row["confidence"] for row in rows]
        axes.plot(sure, [100 * row["accuracy"] for row in rows], "o", color=GREEN, markersize=4, label="bin's mean")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("probability of the predicted class, %")
        axes.set_ylabel("predicted rightly, %")
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def bins(probability: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """Group predictions (N,) into bins of equal width by their probability: bounds, images, mean probability, accuracy.

    Empty bins are left out. The calibration error is the mean of ``|confidence - accuracy|``, weighted by images.
    """
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.digitize(probability, edges[1:-1], right=True), 0, BINS - 1)
    rows = []
    for index in range(BINS):
        inside = place == index
        if inside.any():
            told = {"low": float(edges[index]), "high": float(edges[index + 1]), "images": int(inside.sum())}
            means = {"confidence": float(probability[inside].mean()), "accuracy": float(right[inside].mean())}
            rows.append({**told, **means})
    return rows


def _short(name: str, most: int = NAME) -> str:
    plain = printable(name)
    return (plain if len(plain) <= most else f"{plain[: most - 1]}…").replace("$", r"\$")


def cost(points: Sequence[tuple[str, float, float]]) -> Figure:
    """Draw test accuracy against seconds, a point for each (label, seconds, accuracy)."""
    from matplotlib.ticker import LogLocator, NullFormatter

    with drawing(6.4, 3.8) as (figure, axes):
        for index, (label, seconds, accuracy) in enumerate(points):
            style: dict[str, Any] = {
                "color": SERIES[index % len(SERIES)],
                "marker": MARKS[index // len(SERIES) % len(MARKS)],
            }
            name = _short(label, LABEL) if index < LABELLED else "_"
            axes.plot(seconds, 100 * accuracy, linestyle="none", markersize=7, label=name, **style)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        axes.set_xscale("log")
        axes.margins(0.15)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("seconds, from the command to the result")
        axes.set_ylabel("test accuracy, %")
    return figure


def together(histories: Sequence[tuple[int, str, Sequence[dict[str, Any]]]]) -> Figure:
    """Draw the validation accuracy of several runs by epoch, counted over all phases.

    A run's number, label and epochs; the number gives it the colour that it has among all runs of the page.
    """
    from matplotlib.ticker import MaxNLocator

    with drawing(6.4, 3.8) as (figure, axes):
        for place, (index, label, rows) in enumerate(histories):
            y = [100 * float(row["val/accuracy"]) for row in rows]
            style = (
                SERIES[index % len(SERIES)],
                MARKS[index % len(MARKS)],
                STROKES[index // len(SERIES) % len(STROKES)],
            )
            name = _short(label, LABEL) if place < LABELLED else "_"
            axes.plot(
                range(1, len(y) + 1), y, color=style[0], marker=style[1], linestyle=style[2], markersize=4, label=name
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation accuracy, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure
