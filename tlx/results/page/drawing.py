"""Drawing: the surgery as a picture, from the image on top to the classes below, made from the real network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tlx.results.console import amount
from tlx.results.page.template import render

WIDTH = 440.0  # of the picture; a phone shows it in full
MIDDLE = 140.0  # of the column that is kept and new
ASIDE = 345.0  # of the column that is cut away
NOTES = 270.0  # where what stands beside a block begins
NARROWEST, WIDEST = 112.0, 232.0  # blocks, by the side of the maps
HEIGHT, GAP = 44.0, 12.0
GHOST, GHOST_GAP = 30.0, 7.0
MOST = 8  # blocks in a row; of more, those that fare alike become one
LETTER = 7.4  # the width of a bold letter
HEAD = 196.0
CLASSES = 38  # letters
POOLING = {"auto": "average pooling", "avg": "average pooling", "max": "maximum pooling", "avgmax": "average + maximum"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """A part of the network: what becomes of it, ``look`` (frozen, trained, cut, new, image, pool), and its outline.

    Its upper edge is ``top`` wide and its lower one ``bottom``; ``notes`` stand beside it.
    """

    look: str
    title: str
    whole: str  # the title before it was shortened
    tag: str
    x: float
    y: float
    top: float
    bottom: float
    height: float
    notes: tuple[str, ...] = ()
    ragged: bool = False  # the cut goes through it

    @property
    def corners(self) -> list[tuple[float, float]]:
        """The corners, from the upper left one on."""
        (left, right), (low, high) = self._edges(self.top), self._edges(self.bottom)
        end = self.y + self.height
        below = [(high, end), (low, end)]
        if self.ragged:
            step = (high - low) / 8
            below = [(high - i * step, end - (5 if i % 2 else 0)) for i in range(9)]
        return [(left, self.y), (right, self.y), *below]

    @property
    def outline(self) -> str:
        """The corners, as a path."""
        return f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in self.corners)}Z"

    @property
    def middle(self) -> float:
        """The height of its middle."""
        return self.y + self.height / 2

    def _edges(self, width: float) -> tuple[float, float]:
        return self.x - width / 2, self.x + width / 2


@dataclass(frozen=True)
class Layout:
    """Where everything stands in a picture: what is kept and new from the top on, of that the trunk, what is cut away.

    ``cut`` is the height of the line between them; ``every`` says whether the head reads every stage.
    """

    blocks: list[Block]
    trunk: list[Block]
    ghosts: list[Block]
    cut: float
    every: bool
    answer: str
    height: float

    @property
    def answer_y(self) -> float:
        """The height of the line of classes."""
        return _below(self.blocks) + 16


def draw(outline: Row, classes: Sequence[str], name: str = "surgery") -> str:
    """Draw the surgery that an outline (see tlx.training.outline) describes, as SVG; ``name`` is unique on its page."""
    layout = lay_out(outline, classes)
    words = alternative(outline)
    return render("surgery.svg.j2", name=name, layout=layout, width=WIDTH, middle=MIDDLE, notes_at=NOTES, words=words)


def lay_out(outline: Row, classes: Sequence[str]) -> Layout:
    """Place every part of a network."""
    size = outline["image_size"]
    blocks = [_block("image", "image", "", 0.0, WIDEST, WIDEST, (f"3 × {size} × {size}",), height=34.0)]
    kept = [row for row in outline["stages"] if row["fate"] != "cut"]
    before = 0
    for row in _merged(kept):
        width = _width(row["shape"], size)
        notes = [" × ".join(map(str, row["shape"])), f"+ {amount(row['parameters'] - before)}"]
        before = row["parameters"]
        ragged, state = row["fate"] == "inside", row["state"]
        notes += [f"cut inside, at {row['ends']}"] if ragged else []
        notes += [state] if state not in ("frozen", "trained") else []
        look, tag = _fate(state, outline["weights"] is not None)
        y = _below(blocks)
        blocks.append(_block(look, row["name"], tag, y, blocks[-1].bottom, width, tuple(notes), ragged=ragged))
    trunk = blocks[1:]
    cut = _below(blocks) + 4
    ghosts = list(_ghosts(outline, cut + 18))
    head = outline["head"]
    y = cut + 18
    if head["pool"] is not None:
        title = POOLING.get(head["pool"], f"{head['pool']} pooling")
        blocks.append(_block("pool", title, "", y, HEAD, HEAD, height=26.0))
        y = _below(blocks)
    tag = f"new: {head['width']:,} → {outline['classes']:,}, + {amount(head['parameters'])}"
    blocks.append(_block("new", _new(head), tag, y, HEAD, HEAD, height=50.0))
    end = max(_below(blocks) + 14, ghosts[-1].y + GHOST if ghosts else 0)
    every = outline["features"] == [head["width"]] and "every stage" in outline["cut"]
    return Layout(blocks, trunk, ghosts, cut, every, _answer(classes), end + 26)


def alternative(outline: Row) -> str:
    """Say what the picture shows, for whoever does not see it."""
    kept = [row["name"] for row in outline["stages"] if row["fate"] != "cut"]
    cut = [row["name"] for row in outline["stages"] if row["fate"] == "cut"]
    states = sorted({row["state"] for row in outline["stages"] if row["state"]})
    gone = f"; cut away: {', '.join(cut)} and the old classifier" if cut else "; cut away: the old classifier"
    return f"{outline['backbone']}: kept, {', '.join(states)}: {', '.join(kept)}{gone}; new: {outline['head']['words']}"


def legend(outline: Row) -> list[tuple[str, str]]:
    """List the looks that a picture shows, each with its meaning."""
    pretrained = outline["weights"] is not None
    looks = {_fate(row["state"], pretrained)[0] for row in outline["stages"] if row["fate"] != "cut"}
    words = {
        "frozen": f"kept and frozen: the {'pretrained' if pretrained else 'random'} weights stay as they are",
        "trained": "kept and trained: the pretrained weights are the start",
        "random": "kept as a structure, trained from random weights",
        "new": f"new, for your classes: {outline['head']['words']}",
        "cut": "cut away",
    }
    looks |= {"new", *(["cut"] if outline["parameters"]["dropped"] else [])}
    return [(look, told) for look, told in words.items() if look in looks]


def _block(
    look: str,
    title: str,
    tag: str,
    y: float,
    top: float,
    bottom: float,
    notes: tuple[str, ...] = (),
    height: float = HEIGHT,
    x: float = MIDDLE,
    ragged: bool = False,
) -> Block:
    fits = int(min(top, bottom) / LETTER) - 1
    return Block(look, _shortened(title, fits), title, tag, x, y or 2.0, top, bottom, height, notes, ragged)


def _below(blocks: Sequence[Block]) -> float:
    return blocks[-1].y + blocks[-1].height + GAP


def _width(shape: Sequence[int], image_size: int) -> float:
    """Return the width of a block by the side of its maps: halved maps are a step narrower."""
    side = shape[1] if len(shape) == 3 else 1
    return NARROWEST + (WIDEST - NARROWEST) * math.log2(max(1, side)) / math.log2(max(2, image_size))


def _ghosts(outline: Row, y: float) -> Iterator[Block]:
    """Yield what is cut away, the old classifier last."""
    size = outline["image_size"]
    rows = [row for row in outline["stages"] if row["fate"] == "cut"]
    for row in _merged(rows):
        width = 0.66 * _width(row["shape"], size)
        yield _block("cut", row["name"], "", y, width, width, height=GHOST, x=ASIDE)
        y += GHOST + GHOST_GAP
    if outline["parameters"]["dropped"]:
        yield _block("cut", "old classifier", "", y, 122, 122, height=GHOST, x=ASIDE)


def _merged(rows: Sequence[Row]) -> list[Row]:
    """Merge the inner ones of neighbours that fare alike, where there are too many to draw."""
    if len(rows) <= MOST:
        return list(rows)
    merged: list[Row] = []
    for _, alike in groupby(rows, key=lambda row: (row["fate"], row["state"], row["ends"])):
        run = list(alike)
        if len(run) > 3:
            run = [run[0], {**run[-2], "name": f"{len(run) - 2} more stages"}, run[-1]]
        merged += run
    return merged


def _fate(state: str, pretrained: bool) -> tuple[str, str]:
    """Return the look of a stage that stays, and its words."""
    frozen = state in ("frozen", "without parameters of its own")
    if pretrained:
        return ("frozen", "kept, frozen") if frozen else ("trained", "kept, trained")
    return ("frozen", "random, frozen") if frozen else ("random", "random, trained")


def _new(head: Row) -> str:
    named = {"linear": "new layer", "mlp": "new layers", "cosine": "new cosine layer", "neighbours": "votes"}
    return named.get(head["kind"], "new head")


def _answer(classes: Sequence[str]) -> str:
    """Name the classes, as many as there is room for."""
    for count in range(len(classes), 0, -1):
        more = len(classes) - count
        told = " · ".join(classes[:count]) + (f" · {more:,} more" if more else "")
        if len(told) <= CLASSES:
            return told
    return f"{len(classes):,} classes"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"
