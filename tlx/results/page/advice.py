"""Advice as a page, ``advice.html``: the verdict, the quadrant with this data set in it, and the evidence."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tlx import __version__
from tlx.results import advice
from tlx.results.console import console, say
from tlx.results.page.excused import excused
from tlx.results.page.figure import BLUE, GREY, INK, ORANGE, as_png, as_svg, drawing
from tlx.results.page.report import CASES
from tlx.results.page.template import render
from tlx.results.run_folder import shown
from tlx.storage import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = "advice.html"
SPAN = 10, 1_000_000  # training images, the quadrant's lower and upper end
CORNERS = {
    "small_similar": (0.75, 0.04),
    "small_different": (0.25, 0.04),
    "large_similar": (0.75, 0.93),
    "large_different": (0.25, 0.93),
}

Plain = dict[str, Any]


def make_advice_page(folder: Path, told: Plain) -> None:
    """Write the page and say where it is; one that cannot be made costs a line, not the advice."""
    started = time.monotonic()
    with excused("page"):
        path = write_advice_page(folder, told)
        say(console(), "page", f"{shown(path)} ({time.monotonic() - started:.1f} s)")


def write_advice_page(folder: Path, told: Plain) -> Path:
    """Write the page and its plots into ``folder``; ``told`` is what ``advice.json`` holds."""
    evidence = told["evidence"]
    (folder / "plots").mkdir(exist_ok=True)
    figures = {"quadrant": quadrant(evidence, told["verdict"]["case"]), "depths": depths(evidence)}
    if evidence["learning_curve"]:
        figures["curve"] = curve(evidence["learning_curve"])
    drawn = {}
    for name, figure in figures.items():
        as_png(figure, folder / "plots" / f"advice_{name}.png")
        drawn[name] = Markup(as_svg(figure, f"advice_{name}"))
    verdict = told["verdict"]
    page = render(
        "advice.html.j2",
        version=__version__,
        title=f"advice for {told['data']}",
        told=told,
        verdict=verdict,
        evidence=evidence,
        drawn=drawn,
        sentence=advice.sentence(told),
        runner_up=advice.runner_up(verdict) if verdict["runner_up"] else "",
        changes=advice.changes(verdict),
        size=advice.size_words(evidence),
        similar=advice.similarity_words(evidence),
        trial=advice.trial_words(told),
        seconds=advice.seconds,
        textbook=CASES[advice.textbook(evidence["images"], evidence["similarity"]["value"])],
        textbook_words=advice.textbook_words(told),
        names={row["kind"]: row["name"] for row in told["strategies"]},
        json=json.dumps({key: told[key] for key in ("timing", "trials", "verdict")}, indent=2, ensure_ascii=False),
    )
    path = folder / PAGE
    write_text(path, page)
    return path


def quadrant(evidence: Plain, case: str) -> Figure:
    """Draw small or large against similar or different, the textbook's borders, and where this data set lies."""
    with drawing(4.7, 3.9) as (figure, axes):
        quadrant_axes(axes, case)
        x, y = evidence["similarity"]["value"], min(max(evidence["images"], SPAN[0]), SPAN[1])
        axes.plot(x, y, "o", color=BLUE, markersize=11, markeredgecolor=INK, clip_on=False, zorder=4)
        right = x < 0.6
        axes.annotate(
            "this data set", (x, y), (12 if right else -12, 0), textcoords="offset points",
            ha="left" if right else "right", va="center", fontsize=9.5, color=INK,
        )  # fmt: skip
    return figure


def quadrant_axes(axes: Axes, case: str | None = None) -> None:
    """Lay out small or large against similar or different, the textbook's corners by name; ``case`` stands out."""
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(*SPAN)
    axes.axhline(advice.LARGE, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.axvline(advice.ALIKE, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    for name, where in CORNERS.items():
        colour, weight = (ORANGE, "bold") if name == case else (GREY, "normal")
        axes.annotate(name, where, xycoords="axes fraction", ha="center", fontsize=10, color=colour, weight=weight)
    axes.set_xlabel("similarity to what the network learned on")
    axes.set_ylabel("training images")
    axes.grid(visible=False)


def depths(evidence: Plain) -> Figure:
    """Draw the probes' accuracy against depth, of the pretrained trunk and of a random one."""
    profile, random = evidence["profile"], evidence["random_profile"]
    names = [row["name"] for row in profile["rows"]] + (["all depths"] if profile["own"] else [])
    with drawing(max(4.7, 0.62 * len(names) + 1.2), 3.6) as (figure, axes):
        for one, colour, mark, label in ((profile, BLUE, "o", "pretrained"), (random, ORANGE, "s", "random weights")):
            many = f", {one['images']:,} images" if profile["images"] != random["images"] else ""
            _probes(axes, one, colour, mark, f"{label}{many}")
        axes.axhline(100 / evidence["classes"], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="chance")
        axes.set_xticks(
            range(len(names)),
            names,
            rotation=35 if len(names) > 6 else 0,
            ha="right" if len(names) > 6 else "center",
            fontsize=8.5,
        )
        axes.set_ylabel("accuracy of a linear probe, %")
        axes.legend(frameon=False, fontsize=8)
    return figure


def _probes(axes: Axes, profile: Plain, colour: str, mark: str, label: str) -> None:
    rows = profile["rows"]
    y, error = ([100 * row[key] for row in rows] for key in ("accuracy", "standard_error"))
    axes.errorbar(
        range(len(rows)), y, error, color=colour, marker=mark, markersize=5, capsize=3, linewidth=1.4, label=label
    )
    if own := profile["own"]:
        where, up = [len(rows)], [100 * own["standard_error"]]
        axes.errorbar(where, [100 * own["accuracy"]], up, color=colour, marker=mark, markersize=5, capsize=3)


def curve(learning: Plain) -> Figure:
    """Draw the learning curve of the best probe, with its fit and 90 % band."""
    with drawing(4.7, 3.6) as (figure, axes):
        drawn, points = learning["drawn"], learning["points"]
        x = [row["images"] for row in drawn]
        low, high, fit = ([100 * row[key] for row in drawn] for key in ("low", "high", "accuracy"))
        axes.fill_between(x, low, high, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(x, fit, color=BLUE, linewidth=1.5, label="fit, 90 % band")
        images = [row["images"] for row in points]
        y, error = ([100 * row[key] for row in points] for key in ("accuracy", "standard_error"))
        axes.errorbar(images, y, error, fmt="o", color=INK, markersize=5, capsize=3, label="measured, ± standard error")
        axes.set_xscale("log")
        axes.set_xlabel("training images")
        axes.set_ylabel("accuracy of the best probe, %")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
