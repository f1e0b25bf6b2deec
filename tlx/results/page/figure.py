"""Figure: a plot as PNG for a person's slides, and as SVG whose colours follow the page's light or dark mode."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.storage import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by every kind of colour vision; the marks differ in shape as well.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
INK, GREY, LINE = "#1b1f24", "#5f6368", "#dadce0"
VARIABLES = {BLUE: "--blue", ORANGE: "--orange", GREEN: "--green", INK: "--ink", GREY: "--soft", LINE: "--line"}
DOTS_PER_INCH = 160


@contextmanager
def drawing(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure of ``width`` x ``height`` inches with one plain pair of axes, without pyplot and its state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {"text": INK, "axes.label": INK, "xtick": GREY, "ytick": GREY, "axes.edge": GREY}
    colours = {f"{part}color" if part.startswith("axes.") else f"{part}.color": ink for part, ink in style.items()}
    with matplotlib.rc_context({**colours, "font.size": 9}):
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.grid(axis="y", color=LINE, linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        yield figure, axes


@contextmanager
def bare(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure of ``width`` x ``height`` inches that is nothing but its drawing."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"hatch.linewidth": 0.4, "font.size": 9}):
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        yield figure, axes


def as_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    write(path, FigureCanvasAgg(figure).print_png)


def as_svg(figure: Figure, name: str) -> str:
    """Return a figure as an inline SVG: ``name``, unique on its page, stands before the names it uses inside."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tlx"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r'<g id="[\w-]*patch_1">\s*<path[^>]*style="fill: #ffffff"[^>]*/>\s*</g>', "", svg, count=1)
    return re.sub(r'<g id="[\w-]*patch_2">\s*<path[^>]*style="fill: #ffffff"[^>]*/>\s*</g>', "", svg, count=1)
