"""Report: a run's page, ``report.html``, made from what its folder holds and from nothing else."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError
from markupsafe import Markup

from tlx.errors import InputError
from tlx.results import predictions
from tlx.results import profile as profiles
from tlx.results.console import trained
from tlx.results.intervals import intervals
from tlx.results.page import plots
from tlx.results.page.drawing import draw, legend
from tlx.results.page.figure import as_png, as_svg
from tlx.results.page.painting import paint
from tlx.results.page.template import render
from tlx.results.predictions import Predicted
from tlx.results.run_folder import RunFolder
from tlx.storage import read_json, read_text, write_text

PAIRS = 10  # of classes that are taken for each other
CASES = {
    "small_similar": "a small set, similar to what the network learned on",
    "small_different": "a small set, different from what the network learned on",
    "large_similar": "a large set, similar to what the network learned on",
    "large_different": "a large set, different from what the network learned on",
}
LATER = (
    "advice",
    "doubts",
    "temperature",
    "cost",
    "best",
    "bank",
    "evaluates",
    "solver",
    "decisions",
    "certificate",
    "slices",
)  # that older results may lack

Row = dict[str, Any]
# What files from anyone make of a page: it is made from them and from nothing else.
DAMAGES = (
    KeyError, TypeError, IndexError, ValueError, AttributeError, ArithmeticError, AssertionError, RecursionError,
    TemplateError,
)  # fmt: skip


def write_report(folder: RunFolder) -> Path:
    """Make the page of a finished run anew, and its plots as PNG; return the page's path.

    A file that an older tlx did not write leaves its section empty, and the section says so.

    Raises:
        InputError: The run is not finished, or its result is damaged.
    """
    result = folder.read_result()
    try:
        result = {**dict.fromkeys(LATER), **result}
        page = render("report.html.j2", **_content(folder, result))
    except DAMAGES as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{folder.result} or a file beside it is damaged ({told[:200]})", "run again") from None
    write_text(folder.report, page)
    return folder.report


def _content(folder: RunFolder, result: Row) -> Row:
    folder.plots.mkdir(exist_ok=True)
    classes = result["classes"]
    test = result["metrics"]["test"]
    matrix = np.array(test["confusion_matrix"], np.int64)
    said = predictions.read(folder.predictions, classes) if folder.predictions.is_file() else {}
    history, outline = history_of(folder.metrics), _known(folder.surgery)
    pairs = _pairs(matrix, classes)
    marked = [(row["true_index"], row["said_index"]) for row in pairs]
    absent = [name for name, count in zip(classes, matrix.sum(1), strict=True) if not count]
    picture = None
    if outline:
        picture = draw(outline, classes)
        write_text(folder.picture, picture)
        as_png(paint(outline, classes), folder.plots / "surgery.png")
    return {
        "title": f"{result['case'] or 'run'} on {result['data']}",
        "case_words": CASES.get(result["case"] or "", ""),
        "result": result,
        "trained": trained(result),
        "test": test,
        "measured": result.get("measured") or "test images",
        "intervals": intervals(matrix),
        "absent": ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else ""),
        "absent_count": len(absent),
        "chance": float(matrix.sum(1).max() / matrix.sum()),
        "picture": picture and Markup(picture),
        "outline": outline,
        "legend": legend(outline) if outline else [],
        "history": history,
        "curves": [
            _kept(folder, plots.curves(history, what, _best(history, result.get("best"))), f"curve_{what}")
            for what in (("loss", "accuracy") if history else ())
        ],
        "path": (result.get("solver") or {}).get("path", []),
        "profile": _profile(folder, result.get("profile"), len(classes)),
        "confusion": _kept(folder, plots.confusion(matrix, classes, marked), "confusion"),
        "numbered": len(classes) > plots.NUMBERED,
        "pairs": pairs,
        "per_class": _per_class(matrix, classes),
        "mistakes": _mistakes(folder, said.get("test"), classes),
        "reliability": _reliability(folder, said.get("test")),
        "facts": _known(folder.data),
        "rates": _rates(result, history),
        "config": json.dumps(result.get("config", {}), indent=2, ensure_ascii=False),
    }


def _known(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _kept(folder: RunFolder, figure: Any, name: str) -> Markup:
    """Keep a plot as PNG, and return it as SVG for the page."""
    as_png(figure, folder.plots / f"{name}.png")
    return Markup(as_svg(figure, name))


def history_of(path: Path) -> list[Row]:
    """Read ``metrics.csv``: a row for each epoch of each phase."""
    return list(csv.DictReader(io.StringIO(read_text(path)))) if path.is_file() else []


def _best(history: Sequence[Row], best: Row | None) -> int | None:
    for index, row in enumerate(history):
        if best and row["phase"] == best["phase"] and int(row["epoch"]) == best["epoch"]:
            return index
    return None


def _profile(folder: RunFolder, profile: Row | None, classes: int) -> Markup | None:
    return _kept(folder, profiles.picture(profile, classes), "profile") if profile else None


def _pairs(matrix: np.ndarray, classes: Sequence[str]) -> list[Row]:
    """List the pairs of classes that are most often taken for each other, by the share of the true one's images."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    rows = []
    for true, said in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if count := int(wrong[true, said]):
            share = count / int(matrix[true].sum())
            named = {"true": classes[true], "said": classes[said], "true_index": int(true), "said_index": int(said)}
            rows.append({**named, "images": count, "share": share})
    return rows


def _per_class(matrix: np.ndarray, classes: Sequence[str]) -> list[Row]:
    """List images, recall, precision and F1 by class, the least recalled first; None is no number at all."""
    rows = []
    for index, name in enumerate(classes):
        hits, true, said = int(matrix[index, index]), int(matrix[index].sum()), int(matrix[:, index].sum())
        recall, precision = (hits / true if true else None), (hits / said if said else None)
        f1 = 2 * hits / (true + said) if true + said else None
        rows.append({"name": name, "images": true, "recall": recall, "precision": precision, "f1": f1})
    return sorted(rows, key=lambda row: (row["recall"] is None, row["recall"] or 0.0))


def _mistakes(folder: RunFolder, said: Predicted | None, classes: Sequence[str]) -> Row | None:
    kept = _known(folder.mistakes / "mistakes.json")
    if kept is None or said is None:
        return None
    shown = []
    for row in kept["shown"]:
        index = row["index"]
        shown.append(
            {
                "image": said.names[index],
                "label": classes[said.labels[index]],
                "predicted": classes[said.predicted[index]],
                "probability": float(said.probability[index]),
                "label_probability": float(said.label_probability[index]),
                "picture": embedded(folder.mistakes, row["file"]),
                "map": embedded(folder.mistakes, row["map"]) if row["map"] else None,
            }
        )
    return {**kept, "images": len(said.names), "shown": shown}


def embedded(folder: Path, name: str) -> str:
    """Return a picture as a data URI; a name that leads elsewhere is none of ours."""
    if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
        raise InputError(f"{folder / 'mistakes.json'} names {name}, which is no file of its folder", "run again")
    kind = "png" if name.endswith(".png") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode((folder / name).read_bytes()).decode()}"


def _reliability(folder: RunFolder, said: Predicted | None) -> Markup | None:
    if said is None:
        return None
    return _kept(folder, plots.reliability(plots.bins(said.probability, said.right)), "reliability")


def _rates(result: Row, history: Sequence[Row]) -> list[Row]:
    """List the seconds of every phase, and how many images a second it took where that can be told."""
    images, bank = result["images"], result.get("bank") or {}
    epochs = sum(int(row["epoch"]) >= 0 for row in history)
    seen = {
        "features": bank.get("computed", 0),
        "fit": epochs * (images["train"] + images["val"]) if not bank else 0,
        "evaluate": sum(images.values()) if not bank else 0,
    }
    rows = []
    for name, seconds in result["seconds"].items():
        count = seen.get(name, 0)
        rows.append({"name": name, "seconds": seconds, "rate": count / seconds if count and seconds > 0.05 else None})
    return rows
