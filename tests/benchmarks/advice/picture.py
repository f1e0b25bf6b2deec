"""The 2x2 picture, measured: which case wins where, over the number of images and their similarity.

Run: python -m tests.benchmarks.advice.picture

Writes ``docs/advice.svg`` from ``truth.csv`` and ``evidence.jsonl`` beside this file, and prints how often the corner
that the textbook's rule points to is the one that wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.advice.experience import Known, judged
from tlx.config.cases import CASES
from tlx.results.advice import textbook
from tlx.results.page.advice import quadrant_axes
from tlx.results.page.figure import BLUE, GREEN, GREY, INK, LINE, ORANGE, VARIABLES, as_svg, drawing
from tlx.storage import write_text

PICTURE = Path(__file__).parents[3] / "docs" / "advice.svg"
COLOURS = dict(zip(CASES, (BLUE, GREEN, ORANGE, INK), strict=True))
MARKS = dict(zip(CASES, ("o", "s", "^", "D"), strict=True))
SIZES = 40.0, 220.0  # of a mark: of no lead, and of 10 points and more
DARK = {BLUE: "#56b4e9", ORANGE: "#ff8c42", GREEN: "#2fc99a", INK: "#eceff3", GREY: "#a3adba", LINE: "#3a4048"}


@dataclass(frozen=True)
class Won:
    """A task: where it lies, the case whose best strategy is the most accurate, its lead, and whether that is sure."""

    task: str
    images: int
    similarity: float
    case: str
    lead: float
    error: float

    @property
    def sure(self) -> bool:
        """Whether the lead is more than noise between seeds."""
        return self.lead > 2 * self.error

    @property
    def textbook(self) -> str:
        """The case that its corner stands for."""
        return textbook(self.images, self.similarity)


def won(tasks: Sequence[Known]) -> list[Won]:
    """Find the winning case of every task, on average over its seeds, and its lead over the best of another case."""
    found = []
    for name in dict.fromkeys(task.task for task in tasks):
        seeds = [task for task in tasks if task.task == name]
        every = seeds[0].strategies
        accuracy = np.array([[seed.accuracy(strategy) for strategy in every] for seed in seeds])  # (seeds, strategies)
        means = accuracy.mean(0)
        first = int(means.argmax())
        others = [index for index, strategy in enumerate(every) if strategy.case != every[first].case]
        second = max(others, key=lambda index: float(means[index]))
        leads = accuracy[:, first] - accuracy[:, second]
        error = float(leads.std(ddof=1) / np.sqrt(len(leads))) if len(leads) > 1 else float("inf")
        similarity = float(np.mean([seed.evidence.similarity.value for seed in seeds]))
        images = seeds[0].evidence.images
        found.append(Won(name, images, similarity, every[first].case, float(leads.mean()), error))
    return found


def draw(found: Sequence[Won]) -> str:
    """Draw every task in the quadrant, as the case that wins it; hollow where the lead is noise between seeds."""
    with drawing(7.6, 5.0) as (figure, axes):
        quadrant_axes(axes)
        axes.set_ylim(20, 20_000)
        for one in found:
            size = SIZES[0] + (SIZES[1] - SIZES[0]) * min(one.lead / 0.1, 1.0)
            colour = COLOURS[one.case]
            face = colour if one.sure else "none"
            axes.scatter(
                one.similarity, one.images, s=size, marker=MARKS[one.case], facecolors=face, edgecolors=colour,
                linewidths=1.3, zorder=3,
            )  # fmt: skip
        for case in CASES:
            axes.scatter([], [], marker=MARKS[case], color=COLOURS[case], s=60, label=f"{case} wins")
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return standing_alone(as_svg(figure, "advice"))


def standing_alone(svg: str) -> str:
    """Give an SVG that was made to stand on a page the colours that a page would give it."""
    light, dark = (
        "".join(f"{name}: {colours[colour]}; " for colour, name in VARIABLES.items())
        for colours in ({colour: colour for colour in VARIABLES}, DARK)
    )
    style = f"<style>svg {{ {light}}} @media (prefers-color-scheme: dark) {{ svg {{ {dark}}} }}</style>"
    end = svg.index(">") + 1
    return f"{svg[:end]}{style}{svg[end:]}"


def main() -> None:
    """Draw the picture, and print the winners."""
    found = won(judged())
    write_text(PICTURE, draw(found))
    print(f"{'task':30} {'images':>6} {'similar':>7}  {'wins':16} {'by points':>12}  by the textbook")
    for one in found:
        known = f" ± {100 * one.error:.1f}" if math.isfinite(one.error) else ""  # of one seed
        lead = f"{100 * one.lead:.1f}{known}" + ("" if one.sure else " ?")
        told = f"{one.task:30} {one.images:>6} {one.similarity:>7.2f}  {one.case:16} {lead:>12}  {one.textbook}"
        print(told)
    agree = [one.case == one.textbook for one in found]
    print(f"\nthe corner's own case wins {sum(agree)} of {len(agree)}", end="; ")
    sure = [one for one in found if one.sure]
    print(f"of those that are more than noise, {sum(one.case == one.textbook for one in sure)} of {len(sure)}")


if __name__ == "__main__":
    main()
