"""The images of a run on the terminal: from the facts that ``data.json`` holds."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlx.results.console import printable, say

MOST = 30  # classes, and bad images, that a table shows


def remarks(out: Console, facts: dict[str, Any], label: str = "") -> None:
    """Print what a person should know, and in yellow what they should mend."""
    for note in facts["notes"]:
        say(out, label, note)
    for warning in facts["warnings"]:
        say(out, label, warning, "yellow")


def brief(out: Console, facts: dict[str, Any]) -> None:
    """Print a line a split, and one about the files; nothing for a built-in set, which holds no surprises."""
    if facts["scan"] is None:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("split", "images", "smallest class", "largest class"):
        table.add_column(title, justify="left" if title == "split" else "right")
    for split, counted in facts["splits"].items():
        least, most = min(counted, key=counted.__getitem__), max(counted, key=counted.__getitem__)
        ends = (Text(f"{printable(name)} {counted[name]:,}") for name in (least, most))
        table.add_row(split, f"{sum(counted.values()):,}", *ends)
    out.print(table)
    say(out, "scan", f"{_scanned(facts)}, {_modes(facts)}")


def show(out: Console, facts: dict[str, Any]) -> None:
    """Print the classes by split, and what was seen of the files."""
    out.print(_classes(facts))
    out.print()
    if facts["scan"] is None:
        return
    say(out, "scan", f"{_scanned(facts)}; {len(facts['bad']):,} cannot be used", "yellow" if facts["bad"] else "")
    for name, unit in (("width", "px"), ("height", "px"), ("bytes", "B")):
        if spread := facts[name]:
            say(out, name, f"{spread['min']:,} to {spread['max']:,} {unit}, median {spread['median']:,.0f}")
    say(out, "modes", _modes(facts))
    say(out, "turned", f"{facts['turned_by_exif']:,} images, as their EXIF data says")
    for key, title in (("duplicates", "equal"), ("near_duplicates", "alike")):
        if found := facts[key]:
            across, labels = found["across_splits"]["images"], found["across_labels"]["images"]
            text = f"{across:,} images across given splits, {labels:,} under different labels"
            say(out, title, text, "yellow" if across or labels else "")
    out.print()


def bad(out: Console, facts: dict[str, Any]) -> None:
    """List the images that cannot be used, the first few of many."""
    if not facts["bad"]:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("image", "what is wrong"):
        table.add_column(title, overflow="fold")
    for row in facts["bad"][:MOST]:
        reason = f"{row['reason']}: {row['detail']}"
        table.add_row(Text(printable(row["image"])), Text(printable(reason)), style="yellow")
    out.print(table)
    if (more := len(facts["bad"]) - MOST) > 0:
        out.print(f"and {more:,} more")


def _classes(facts: dict[str, Any]) -> Table:
    """Lay out the counts by class and split: of a run's splits where there are any, else of those found."""
    splits = facts.get("splits") or facts["given"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for split in splits:
        table.add_column(split, justify="right")
    classes = facts["classes"]
    shown = classes if len(classes) <= MOST else classes[: MOST // 2] + classes[-MOST // 2 :]
    for index, name in enumerate(shown):
        if len(shown) < len(classes) and index == MOST // 2:
            table.add_row(f"... {len(classes) - len(shown):,} more", *("" for _ in splits))
        counts = [counted[name] for counted in splits.values()]
        cells = [Text(f"{count:,}", style="" if count else "yellow") for count in counts]
        table.add_row(Text(printable(name)), *cells)
    table.add_row("all", *(f"{sum(counted.values()):,}" for counted in splits.values()), style="bold")
    return table


def _scanned(facts: dict[str, Any]) -> str:
    what = "all pixels" if facts["scan"] == "full" else "headers"
    return f"{what} of {facts['images']:,} images"


def _modes(facts: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {mode}" for mode, count in facts["modes"].items()) or "none can be read"
