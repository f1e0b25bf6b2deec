"""The picture of the depth profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlx.results.console import amount
from tlx.storage import write

# Okabe and Ito's palette, told apart by every kind of colour vision.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#5F6368"
DOTS_PER_INCH = 160


def draw(path: Path, rows: list[dict[str, Any]], profile: dict[str, Any], classes: int) -> None:
    """Draw accuracy against depth, with standard errors, as a PNG; the run's cut and that of ``cut=auto`` are marked.

    ``rows`` are those of ``tlx.results.profile.listed``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    size = (max(6.4, 0.62 * len(rows) + 2.2), 4.4)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    depths = [row for row in rows if row["depth"] != ""]
    own = [row for row in rows if row["depth"] == ""]
    x, y = list(range(len(rows))), [row["accuracy"] for row in rows]
    error = [row["standard_error"] for row in rows]
    axes.plot(x[: len(depths)], y[: len(depths)], color=BLUE, linewidth=1.6, alpha=0.55, zorder=1)
    axes.errorbar(x, y, error, fmt="o", color=BLUE, markersize=6.5, capsize=3.5, linewidth=1.4, zorder=2)
    for index, row in enumerate(rows):
        if row["auto"]:
            axes.plot(index, row["accuracy"], "o", color=ORANGE, markersize=9, zorder=3, label="cut=auto takes it")
        if row["cut"]:
            axes.plot(
                index, row["accuracy"], "o", markersize=16, markerfacecolor="none", markeredgecolor="black",
                markeredgewidth=1.5, zorder=4, label="this run's cut",
            )  # fmt: skip
        offset = (0, 12) if index == 0 or row["accuracy"] >= y[index - 1] else (0, -20)
        over = row["accuracy"] + (row["standard_error"] if offset[1] > 0 else -row["standard_error"])
        axes.annotate(
            f"{100 * row['accuracy']:.1f}", (index, over), xytext=(0, 8 if offset[1] > 0 else -15),
            textcoords="offset points", ha="center", fontsize=9,
        )  # fmt: skip
    if own:
        axes.axvline(len(depths) - 0.5, color=GREY, linewidth=0.8, alpha=0.6)
    names = [f"{row['name']}\n{row['width']:,} features\n{amount(row['multiply_adds'])} MACs" for row in rows]
    axes.set_xticks(x, names, fontsize=8.5)
    if len(rows) > 7:
        axes.set_xticklabels(names, rotation=40, ha="right", rotation_mode="anchor")
    low, high = min(v - e for v, e in zip(y, error, strict=True)), max(v + e for v, e in zip(y, error, strict=True))
    room = max(0.18 * (high - low), 0.02)
    if 1 / classes > low - 3 * room:  # near enough to be shown without squeezing the depths together
        low = min(low, 1 / classes)
        axes.axhline(1 / classes, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylim(max(0.0, low - room), high + room)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("accuracy of a linear probe (± standard error)")
    axes.set_xlabel("depth, from the input on")
    axes.set_title(
        f"Depth profile: {profile['folds']}-fold cross-validation on {profile['images']:,} training images\n"
        f"(chance: {100 / classes:.3g} %)",
        loc="left", fontsize=11,
    )  # fmt: skip
    axes.grid(axis="y", color="#DADCE0", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best")
    write(path, canvas.print_png)
