"""What a person sees on the terminal."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlx.results.run_folder import shown

ENVIRONMENT = re.compile(r"\$\{oc\.env:(\w+)(?:,'?([^'}]*)'?)?\}")

SPLITS = ("train", "val", "test")
SHOWN = {
    "loss": "loss",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
}


class _Lasting(Console):
    """Goes on in silence when nobody reads any more: a training must not end with the ``head`` it was piped to."""

    def on_broken_pipe(self) -> None:
        """Send what follows nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


def console() -> Console:
    """Return the console of this moment's standard output."""
    terminal = sys.stdout.isatty()
    file: Any = sys.stdout if terminal else Trimmed(sys.stdout)
    width = None if terminal else 140  # a file has no width; tables must not be cut to a guess
    return _Lasting(file=file, width=width, highlight=False, emoji=False)  # ":cat:" may be part of a path


class Trimmed:
    """A text file without spaces at its lines' ends, with which tables are filled up."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write a text that holds whole lines."""
        return self._file.write(re.sub(r" +(?=\n)", "", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def say(out: Console, label: str, text: str, style: str = "") -> None:
    """Print a labelled line."""
    line = Text.assemble((f"{label:<9}", "bold"), (f" {printable(text)}", style))
    out.print(line, soft_wrap=True)  # a path cut in two cannot be copied


def printable(text: str) -> str:
    """Escape what a terminal cannot show or would obey: bytes of names that are no UTF-8, control characters."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def summary(out: Console, result: dict[str, Any]) -> None:
    """Print what was cut, frozen and trained, how good it is, and where it is."""
    parameters, surgery = result["parameters"], result["surgery"]
    out.print()
    say(
        out,
        "cut",
        f"{surgery['cut']}: {amount(parameters['kept'])} parameters kept, {amount(parameters['dropped'])} dropped",
    )
    frozen = f"{amount(parameters['frozen'])} parameters"
    if parameters["frozen"]:
        frozen += ", unmoved: fingerprints equal before and after" if result["frozen_unchanged"] else ", MOVED"
    say(out, "frozen", frozen)
    say(out, "trained", f"{amount(parameters['trained'])} parameters: {trained(result)}")
    if best := result.get("best"):
        say(out, "best", _kept(best))
    if chosen := _chosen(result.get("solver")):
        say(out, "solver", chosen)
    out.print()
    out.print(metrics_table(result["metrics"], result["images"]))
    seconds = result["seconds"]
    phases = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if name != "total" and value >= 0.05)
    say(out, "time", f"{seconds['total']:.1f} s ({phases})")
    if bank := result.get("bank"):
        say(out, "bank", _bank(bank))
    say(out, "folder", shown(Path(result["run_dir"])))


def _chosen(solver: dict[str, Any] | None) -> str:
    """Say what a solver chose on validation images; nothing of one that had no choice."""
    if not solver or not (tried := solver.get("path")):
        return ""
    chosen = {key: value for key, value in solver.items() if key not in ("kind", "path") and key in tried[0]}
    named = [f"{key.replace('_', ' ')} {value:g}" for key, value in chosen.items() if isinstance(value, int | float)]
    return f"{solver['kind']}, {', '.join(named)}: the best of {len(tried)} on validation images" if named else ""


def _bank(bank: dict[str, Any]) -> str:
    """Say how many features were known, how many are new, and how much room all of them take."""
    told = f"{counted(bank['found'], 'row')} of features known, {bank['computed']:,} computed"
    if bank["damaged"]:
        told += f", {counted(bank['damaged'], 'damaged file')} replaced"
    if bank["dir"] is None:
        return f"{told}; kept in memory only"
    folder, home = Path(ENVIRONMENT.sub(_given, bank["dir"])).expanduser(), Path.home()
    where = f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else shown(folder)
    return f"{told}; {size(bank['bytes'])} of {bank['max_gb']:g} GB in {where}"


def _given(found: re.Match[str]) -> str:
    """Name what the environment gives, or tell what stands in for it."""
    name, instead = found.groups()
    return f"${name}" if name in os.environ or instead is None else instead


def size(count: int) -> str:
    """Write a number of bytes as a person reads it, in powers of ten: 950 bytes, 12.3 MB."""
    for large, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= large * 0.9995:
            return f"{count / large:.3g} {unit}"
    return counted(count, "byte")


def _kept(best: dict[str, Any]) -> str:
    """Say which epoch the kept weights are from, counted from 1 as the progress does."""
    phase = "" if best["phase"] == "train" else f"{best['phase']}, "
    epoch = "solved on features" if best["epoch"] is None else f"epoch {best['epoch'] + 1} of {best['epochs']}"
    return f"{phase}{epoch}: validation accuracy {best['val']['accuracy']:.4f}, loss {best['val']['loss']:.4f}"


def trained(result: dict[str, Any]) -> str:
    """Say what was trained, and whether it was of any use."""
    told: str = result["surgery"]["trained"]
    best = result.get("best")  # of a run trained by epochs; older results lack it
    if best and best["unbeaten_by"]:
        told += f"; no epoch of {best['unbeaten_by']} beat the {best['phase']}, whose weights are kept"
    return told


def metrics_table(metrics: dict[str, Any], images: dict[str, int]) -> Table:
    """Lay out metrics by split."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    table.add_column("images", justify="right")
    for title in SHOWN.values():
        table.add_column(title, justify="right")
    for split in SPLITS:
        if split in metrics:
            values = [f"{metrics[split][name]:.4f}" for name in SHOWN]
            style = "bold green" if split == "test" else ""
            table.add_row(split, f"{images[split]:,}", *values, style=style)
    return table


def amount(count: int) -> str:
    """Write a count as a person reads it: 950, 12.3 k, 4.56 M."""
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size * 0.9995:  # what rounds to 1000 of a unit is 1 of the next
            return f"{count / size:.3g} {unit}"
    return str(count)


def counted(count: int, thing: str) -> str:
    """Write a count with its noun: 1 epoch, 2 epochs."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def error(message: str, wrong: bool = True) -> None:
    """Print why the program ends as one line (a long one wraps) on standard error; an interruption is nothing wrong."""
    told = printable(message)
    sys.stderr.write(f"tlx: error: {told}\n" if wrong else f"tlx: {told}\n")
    sys.stderr.flush()
