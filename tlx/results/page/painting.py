"""Painting: the surgery as a PNG, for where no SVG is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlx.results.console import printable
from tlx.results.page.drawing import MIDDLE, NOTES, WIDTH, Block, lay_out
from tlx.results.page.figure import GREY, INK, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH = 100.0  # of the drawing's units
POINT = 0.66  # of a letter that is a unit large: units are hundredths of an inch
LOOKS: dict[str, dict[str, Any]] = {
    "image": {"facecolor": "none", "edgecolor": "#8a94a3"},
    "pool": {"facecolor": "none", "edgecolor": "#8a94a3"},
    "frozen": {"facecolor": "#d6e8f7", "edgecolor": "#2f74b5", "hatch": "///", "linewidth": 1.2},
    "trained": {"facecolor": "#ffe3c2", "edgecolor": "#c05a00", "linewidth": 1.6},
    "random": {"facecolor": "none", "edgecolor": "#c05a00", "hatch": "..", "linewidth": 1.6},
    "new": {"facecolor": "#c9efd6", "edgecolor": "#0b7a3b", "linewidth": 2.4},
    "cut": {"facecolor": "none", "edgecolor": "#9aa2ae", "linestyle": (0, (4, 3)), "linewidth": 1.2},
}


def paint(outline: dict[str, Any], classes: Sequence[str]) -> Figure:
    """Paint what :func:`tlx.results.page.drawing.draw` draws."""
    layout = lay_out(outline, classes)
    with bare(WIDTH / INCH, layout.height / INCH) as (figure, axes):
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(layout.height, 0)
        for above, below in zip(layout.blocks, layout.blocks[1:], strict=False):
            axes.plot([MIDDLE, MIDDLE], [above.y + above.height, below.y], color="#8a94a3", linewidth=1)
        for block in (*layout.blocks, *layout.ghosts):
            _block(axes, block)
        if layout.every:
            end = layout.blocks[-1]
            for part in layout.trunk:
                x, y = [part.x - (part.top + part.bottom) / 4, 10, 10, end.x - end.top / 2], part.middle
                axes.plot(x, [y, y, end.middle, end.middle], color="#8a94a3", linewidth=1, zorder=0)
        axes.axhline(layout.cut, color="#c62828", linewidth=1.2, linestyle=(0, (6, 4)))
        _text(axes, WIDTH - 4, layout.cut - 5, "cut", 10.5, "#c62828", "right")
        _text(axes, MIDDLE, layout.answer_y, layout.answer, 12, INK)
    return figure


def _block(axes: Axes, block: Block) -> None:
    from matplotlib.patches import Polygon

    axes.add_patch(Polygon(block.corners, closed=True, **LOOKS[block.look]))
    ink = GREY if block.look == "cut" else INK
    _text(
        axes,
        block.x,
        block.middle - (7 if block.tag else 0),
        block.title,
        13 if block.tag else 12,
        ink,
        bold=bool(block.tag),
    )
    if block.tag:
        _text(axes, block.x, block.middle + 8, block.tag, 10.5, GREY)
    for index, note in enumerate(block.notes):
        y = block.middle + 15 * (index - (len(block.notes) - 1) / 2)
        _text(axes, NOTES, y, note, 12, GREY, "left")


def _text(
    axes: Axes, x: float, y: float, text: str, size: float, ink: str, where: str = "center", bold: bool = False
) -> None:
    plain, weight = printable(text).replace("$", r"\$"), "bold" if bold else "normal"
    axes.text(x, y, plain, fontsize=size * POINT, color=ink, ha=where, va="center", weight=weight)
