"""Comparison: the page of several runs side by side, ``comparison.html``, made from their folders."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from tlx import __version__
from tlx.errors import InputError
from tlx.results import predictions
from tlx.results.comparison import swept
from tlx.results.console import console, say
from tlx.results.page import plots
from tlx.results.page.excused import excused
from tlx.results.page.figure import as_png, as_svg
from tlx.results.page.report import CASES, embedded, history_of
from tlx.results.page.template import render
from tlx.results.paired import Pair, paired
from tlx.results.predictions import Predicted
from tlx.results.run_folder import RunFolder, shown
from tlx.storage import read_json, write_text

ALL_PAIRS = 8  # runs up to which every pair is tested; of more, the best against each other
SHOWN = 24  # images on which runs disagree

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its row of the comparison, a label that tells it from the others, its result."""

    folder: RunFolder
    row: Row
    label: str
    result: Row
    said: Predicted | None  # on test images

    def link(self, folder: Path) -> str:
        """Where its own page is, as seen from ``folder``; empty where it has none."""
        page = self.folder.report
        return quote(Path(os.path.relpath(page, folder)).as_posix()) if page.is_file() else ""

    @property
    def accuracy(self) -> float:
        """Its test accuracy."""
        return float(self.row["test_accuracy"])


def make_comparison(folder: Path, rows: Sequence[Row], paths: Sequence[Path]) -> None:
    """Write the page and say where it is; one that cannot be made costs a line, not the sweep."""
    with excused("page"):
        say(console(), "page", shown(write_comparison(folder, rows, paths)))


def write_comparison(folder: Path, rows: Sequence[Row], paths: Sequence[Path]) -> Path:
    """Write ``comparison.html`` and its plots into ``folder``; ``rows`` are those of ``comparison.collect``."""
    runs = _runs(rows, paths)
    sets = {run.result["fingerprints"]["test"] for run in runs}
    same = len(sets) == 1 and len(runs) > 1
    comparable = _comparable(runs)
    pairs = _pairs(runs, comparable)
    asked = [runs[index] for index in max(comparable, key=len, default=[])]
    page = render(
        "comparison.html.j2",
        version=__version__,
        title=f"{len(rows)} runs compared",
        folder=folder,
        runs=runs,
        rows=rows,
        failed=[row for row in rows if row["status"] != "done"],
        best=max(runs, key=lambda run: run.accuracy, default=None) if same else None,
        same=same,
        sets=len(sets),
        quadrant=_quadrant(runs),
        cases=CASES,
        groups=_groups(runs),
        asked=asked,
        groups_of_images=len(comparable),
        pairs=pairs,
        verdict=_verdict(runs, pairs) if same else "",
        disagreed=_disagreed(asked),
        cost=_plot(folder, plots.cost([(r.label, r.row["seconds"], r.accuracy) for r in runs]), "cost") if runs else "",
        curves=_curves(folder, runs),
    )
    path = folder / "comparison.html"
    write_text(path, page)
    return path


def _runs(rows: Sequence[Row], paths: Sequence[Path]) -> list[Run]:
    done = [(row, path) for row, path in zip(rows, paths, strict=True) if row["status"] == "done"]
    labels = _labels([row for row, _ in done])
    runs = []
    for (row, path), label in zip(done, labels, strict=True):
        folder = RunFolder(path)
        result = folder.read_result()
        runs.append(Run(folder, row, label, result, _said(folder, result)))
    return runs


def _labels(rows: Sequence[Row]) -> list[str]:
    """Tell runs apart by what was set differently for them, else by their folders."""
    found = swept(rows)
    bare = ("case", "data", "backbone", "freeze", "head", "solver", "init", "cut")
    labels = [
        ", ".join(values[i] if name in bare else f"{name} {values[i]}" for name, values in found.items() if values[i])
        for i in range(len(rows))
    ]
    distinct = len(set(labels)) == len(labels) and all(labels)
    return labels if distinct else [str(row["run"]) for row in rows]


def _said(folder: RunFolder, result: Row) -> Predicted | None:
    """Read what a run said of its test images; one from before that was kept has nothing to be paired by."""
    try:
        said = predictions.read(folder.predictions, result["classes"]).get("test")
    except InputError:
        return None
    return said if said is not None and len(said.names) == result["images"]["test"] else None


def _plot(folder: Path, figure: Any, name: str) -> Markup:
    (folder / "plots").mkdir(exist_ok=True)
    as_png(figure, folder / "plots" / f"{name}.png")
    return Markup(as_svg(figure, name))


def _curves(folder: Path, runs: Sequence[Run]) -> Markup | None:
    histories = [(index, run.label, history_of(run.folder.metrics)) for index, run in enumerate(runs)]
    trained = [found for found in histories if found[-1]]
    return _plot(folder, plots.together(trained), "curves") if trained else None


def _quadrant(runs: Sequence[Run]) -> list[Row]:
    """Put every run where its case stands: small or large set, similar or different; the last place is for the rest."""
    places = []
    for case in (*CASES, None):
        mine = [run for run in runs if (run.result["case"] if run.result["case"] in CASES else None) == case]
        places.append({"case": case, "runs": sorted(mine, key=lambda run: -run.accuracy)})
    return places


def _groups(runs: Sequence[Run]) -> list[Row]:
    """Summarise runs that differ in nothing but the seed: mean and standard deviation of test accuracy."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        config = {key: value for key, value in run.result.get("config", {}).items() if key != "seed"}
        alike.setdefault(repr((run.row["case"], run.row["data"], config)), []).append(run)
    groups = []
    for mine in alike.values():
        accuracies = [run.accuracy for run in mine]
        spread = statistics.stdev(accuracies) if len(mine) > 1 else None
        told = [word for word in str(mine[0].row["overrides"]).split() if not word.startswith("seed=")]
        seconds = statistics.fmean(run.row["seconds"] for run in mine)
        name = " ".join(told) or mine[0].label
        groups.append(
            {
                "name": name,
                "seeds": len(mine),
                "mean": statistics.fmean(accuracies),
                "spread": spread,
                "seconds": seconds,
            }
        )
    return sorted(groups, key=lambda group: -group["mean"])


def _comparable(runs: Sequence[Run]) -> list[list[int]]:
    """Group the runs, by their places, that share the same test images and have kept what they said of them."""
    groups: dict[str, list[int]] = {}
    for index, run in enumerate(runs):
        if run.said is not None:
            groups.setdefault(run.result["fingerprints"]["test"], []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _pairs(runs: Sequence[Run], groups: Sequence[Sequence[int]]) -> list[Pair]:
    """Test all pairs of a few runs of the same images; of many, the best against each of the others."""
    chosen: list[tuple[int, int]] = []
    for group in groups:
        best = max(group, key=lambda index: runs[index].accuracy)
        few = len(group) <= ALL_PAIRS
        chosen += combinations(group, 2) if few else [(best, other) for other in group if other != best]
    # The better one stands first.
    ordered = [(a, b) if runs[a].accuracy >= runs[b].accuracy else (b, a) for a, b in chosen]
    right = [np.zeros(0, bool) if run.said is None else run.said.right for run in runs]
    return sorted(paired(right, ordered), key=lambda pair: -abs(pair.difference))


def _verdict(runs: Sequence[Run], pairs: Sequence[Pair]) -> str:
    """Say whether the best run is really better than the second best."""
    if len(runs) < 2:
        return ""
    order = sorted(range(len(runs)), key=lambda index: -runs[index].accuracy)
    first, second = order[0], order[1]
    pair = next((p for p in pairs if {p.one, p.other} == {first, second}), None)
    names = f"{runs[first].label} is best"
    if pair is None:
        return names
    points = 100 * pair.difference
    if pair.real:
        return f"{names}, {points:.1f} points before {runs[second].label}: more than chance explains"
    return f"{names}, {points:.1f} points before {runs[second].label}, which may be chance"


def _disagreed(runs: Sequence[Run]) -> Row:
    """List test images that some runs have right and others wrong, those that divide them most evenly first."""
    if len(runs) < 2:
        return {"count": 0, "shown": []}
    said = [run.said for run in runs if run.said is not None]
    right = np.stack([one.right for one in said])
    share = right.mean(0)
    apart = np.flatnonzero((share > 0) & (share < 1))
    order = apart[np.argsort(np.abs(share[apart] - 0.5), kind="stable")][:SHOWN]
    pictures = _pictures(runs)
    shown = []
    for index in order:
        answers = [
            {"class": runs[i].result["classes"][one.predicted[index]], "right": bool(right[i, index])}
            for i, one in enumerate(said)
        ]
        label = runs[0].result["classes"][said[0].labels[index]]
        shown.append(
            {"image": said[0].names[index], "label": label, "answers": answers, "picture": pictures.get(int(index))}
        )
    return {"count": len(apart), "shown": shown}


def _pictures(runs: Sequence[Run]) -> dict[int, str]:
    """Find the pictures of test images that one run or another has kept."""
    found: dict[int, str] = {}
    for run in runs:
        listed = run.folder.mistakes / "mistakes.json"
        for row in read_json(listed)["shown"] if listed.is_file() else []:
            if row["index"] not in found:
                found[row["index"]] = embedded(run.folder.mistakes, row["file"])
    return found
