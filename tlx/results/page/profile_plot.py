"""The picture of the depth profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlx.results.console import amount
from tlx.results.page.figure import BLUE, GREY, INK, ORANGE, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LETTER = 0.085  # inches


def profile(rows: list[dict[str, Any]], images: int, method: str, classes: int) -> Figure:
    """Draw accuracy against depth, with standard errors; the run's cut and that of ``cut=auto`` are marked.

    ``rows`` are those of ``tlx.results.profile.listed``; one without a depth stands apart. ``method`` says how
    ``images`` training images were probed.
    """
    from matplotlib.ticker import MaxNLocator

    longest = max(len(str(row["name"])) for row in rows)
    wide = max(6.8, (LETTER * longest + 0.15) * len(rows) + 0.8)
    with drawing(wide, 4.6) as (figure, axes):
        x = list(range(len(rows)))
        y = [100 * row["accuracy"] for row in rows]
        error = [100 * row["standard_error"] for row in rows]
        depths = sum(row["depth"] != "" for row in rows)
        axes.plot(x[:depths], y[:depths], color=BLUE, linewidth=1.6, alpha=0.5, zorder=1)
        axes.errorbar(x, y, error, fmt="o", color=BLUE, markersize=6, capsize=3.5, linewidth=1.3, zorder=2)
        for index, row in enumerate(rows):
            if row["auto"]:
                axes.plot(index, y[index], "D", color=ORANGE, markersize=8, zorder=3, label="cut=auto takes it")
            if row["cut"]:
                ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.4}
                axes.plot(index, y[index], "o", markersize=16, zorder=4, label="this run's cut", **ring)  # type: ignore[arg-type]
            above = (index, y[index] + error[index])
            axes.annotate(f"{y[index]:.1f}", above, (0, 8), textcoords="offset points", ha="center", fontsize=9)
        if depths < len(rows):
            axes.axvline(depths - 0.5, color=GREY, linewidth=0.8, alpha=0.6)

        low, high = min(map(float.__sub__, y, error)), max(map(float.__add__, y, error))
        room, chance = max(0.15 * (high - low), 2.0), 100 / classes
        if chance > low - 3 * room:  # near enough to be shown without squeezing the depths together
            low = min(low, chance)
            axes.axhline(chance, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.set_ylim(max(0.0, low - room), high + room)
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("accuracy of a linear probe, %")
        names = [f"{row['name']}\n{row['width']:,}\n{amount(row['multiply_adds'])}" for row in rows]
        axes.set_xticks(x, names, fontsize=8.5)
        axes.set_xlabel("depth, from the input on: name, features, multiply-adds", labelpad=8)
        how = f"{method}, ± standard error, chance {chance:.3g} %"
        axes.set_title(f"Depth profile of {images:,} training images", loc="left", fontsize=12, pad=22)
        axes.annotate(how, (0, 1), (0, 8), "axes fraction", "offset points", fontsize=9, color=GREY)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, markerscale=0.75)
    return figure
