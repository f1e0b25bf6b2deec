"""The depth profile as a person and a spreadsheet read it: a table, a sentence, ``profile.csv``, ``profile.png``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlx.results.console import amount, say
from tlx.results.spreadsheet import as_csv
from tlx.storage import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "depth", "kind", "name", "stage", "head", "width", "parameters", "multiply_adds",
    "accuracy", "standard_error", "loss", "strength", "best", "auto", "cut",
)  # fmt: skip
BAR = 20  # characters for an accuracy of 1
EIGHTHS = " ▏▎▍▌▋▊▉"

Plain = dict[str, Any]


def show(out: Console, profile: Plain) -> None:
    """Print the profile, one row a depth."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("depth", justify="right")
    table.add_column("name")
    table.add_column("width", justify="right")
    table.add_column("accuracy ± SE")
    table.add_column("")
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    table.add_column("")
    for row in listed(profile):
        table.add_row(
            str(row["depth"]), named(row), f"{row['width']:,}", figure(row), Text(bar(row["accuracy"]), "cyan"),
            amount(row["parameters"]), amount(row["multiply_adds"]), ", ".join(marks(row)),
            style="bold" if row["cut"] else "",
        )  # fmt: skip
    out.print()
    say(out, "profile", f"linear probes on {profile['images']:,} training images, {method(profile)}")
    out.print(table)


def sentence(profile: Plain) -> str:
    """Say in a line what the profile shows of the run's own cut."""
    best, auto = profile["rows"][profile["best"]], profile["rows"][profile["auto"]]
    own = profile["own"] or profile["rows"][profile["cut"]]
    if own is auto:
        told = f"this cut, {place(own)}, probes at {figure(own)} and is what cut=auto would take"
        return told if best is auto else f"{told}; best is {place(best)}, {figure(best)}"
    among = "of single depths, " if profile["own"] else ""
    told = f"{among}{place(best)} probes best at {figure(best)}, this cut {own['accuracy']:.3f}"
    if own is best:
        told = f"this cut, {place(own)}, probes best at {figure(own)}"
    would = "it" if best is auto else f"{place(auto)}, {auto['accuracy']:.3f}"
    return f"{told}; cut=auto would take {would}"


def write(folder: Path, profile: Plain, classes: int) -> None:
    """Write ``profile.csv`` and ``profile.png`` into a run's folder."""
    from tlx.results.page.figure import as_png

    write_text(folder / "profile.csv", as_csv(COLUMNS, listed(profile)))
    as_png(picture(profile, classes), folder / "profile.png")


def picture(profile: Plain, classes: int) -> Figure:
    """Draw the profile of a set of so many classes."""
    from tlx.results.page import profile_plot

    return profile_plot.profile(listed(profile), profile["images"], method(profile), classes)


def listed(profile: Plain) -> list[Plain]:
    """List the rows with their marks; a cut that is none of the depths stands last, without a number."""
    rows = [
        {"depth": i, **row, **{mark: i == profile[mark] for mark in ("best", "auto", "cut")}}
        for i, row in enumerate(profile["rows"])
    ]
    if profile["own"]:
        rows.append({"depth": "", **profile["own"], "best": False, "auto": False, "cut": True})
    return rows


def marks(row: Plain) -> list[str]:
    """Name what is special about a listed row."""
    words = {"cut": "this cut", "best": "best", "auto": "cut=auto"}
    return [word for mark, word in words.items() if row[mark]]


def method(profile: Plain) -> str:
    """Say how the probes were validated."""
    often = {1: "", 2: " twice"}.get(profile["repeats"], f" {profile['repeats']} times")
    return f"{profile['folds']}-fold cross-validation{often}"


def named(row: Plain) -> str:
    """Name a depth."""
    return f"{row['name']} = head" if row["head"] and row["kind"] != "head" else str(row["name"])


def place(row: Plain) -> str:
    """Name a depth within a sentence."""
    return f"stage {row['stage']} ({row['name']})" if row["kind"] == "stage" else str(row["name"])


def figure(row: Plain) -> str:
    """Show accuracy and standard error."""
    return f"{row['accuracy']:.3f} ± {row['standard_error']:.3f}"


def bar(share: float) -> str:
    """Draw a share of 1 with an eighth of a character's precision."""
    eighths = round(share * BAR * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
