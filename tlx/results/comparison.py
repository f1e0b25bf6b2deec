"""A sweep's comparison: its runs side by side, the failed ones with their reasons."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tlx.results.console import amount
from tlx.results.run_folder import RunFolder, shown
from tlx.storage import read_json, write_text

COLUMNS = (
    "run", "status", "exit_code", "case", "backbone", "init", "cut", "freeze", "data", "seed",
    "train_images", "val_accuracy", "test_accuracy", "test_balanced_accuracy", "test_macro_f1", "test_loss",
    "parameters_kept", "parameters_trained", "seconds", "overrides", "reason",
)  # fmt: skip


def collect(folder: Path, jobs: list[tuple[Path, str]]) -> list[dict[str, Any]]:
    """Read every job of a sweep, given as (run folder, overrides), in order: one row each."""
    rows = []
    for path, overrides in jobs:
        run = RunFolder(path)
        row: dict[str, Any] = {"run": run.path.name, "overrides": overrides}
        if run.result.is_file():
            row |= _row(read_json(run.result))
        else:
            failure = read_json(run.failure) if run.failure.is_file() else {"reason": "never started", "exit_code": 1}
            row |= {"status": "failed", "exit_code": failure["exit_code"], "reason": failure["reason"]}
        rows.append(row)
    write_text(folder / "comparison.csv", as_csv(rows))
    return rows


def _row(result: dict[str, Any]) -> dict[str, Any]:
    test = result["metrics"]["test"]
    return {
        "status": "done",
        "exit_code": 0,
        **{key: result[key] for key in ("case", "backbone", "init", "cut", "freeze", "data", "seed")},
        "train_images": result["images"]["train"],
        "val_accuracy": result["metrics"]["val"]["accuracy"],
        "test_accuracy": test["accuracy"],
        "test_balanced_accuracy": test["balanced_accuracy"],
        "test_macro_f1": test["macro_f1"],
        "test_loss": test["loss"],
        "parameters_kept": result["parameters"]["kept"],
        "parameters_trained": result["parameters"]["trained"],
        "seconds": round(result["seconds"]["total"], 2),
    }


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Render rows as CSV. A text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"'{v}" if isinstance(v, str) and v[:1] in "=+-@\t\r" else v for k, v in row.items()})
    return text.getvalue()


def show(out: Console, folder: Path, rows: list[dict[str, Any]]) -> None:
    """Print the comparison, the failures below it."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=None)
    table.add_column("run")
    for title in ("data", "init", "cut", "freeze"):
        table.add_column(title)
    for title in ("trained", "val accuracy", "test accuracy", "balanced", "seconds"):
        table.add_column(title, justify="right")
    done = [row for row in rows if row["status"] == "done"]
    best = max((row["test_accuracy"] for row in done), default=None)
    same_images = len({row["data"] for row in done}) == 1
    for row in done:
        table.add_row(
            row["run"], row["data"], row["init"], row["cut"], row["freeze"],
            amount(row["parameters_trained"]), f"{row['val_accuracy']:.4f}", f"{row['test_accuracy']:.4f}",
            f"{row['test_balanced_accuracy']:.4f}", f"{row['seconds']:.1f}",
            style="bold green" if same_images and row["test_accuracy"] == best else "",
        )  # fmt: skip
    out.print()
    if done:
        out.print(table)
    failed = [row for row in rows if row["status"] != "done"]
    for row in failed:
        out.print(f"[bold red]failed[/bold red]  {row['run']} (exit code {row['exit_code']}): ", end="")
        out.print(row["reason"], markup=False)
    if done and not same_images:
        out.print("The runs used different data: their accuracies do not compare. Fix it with data=...")
    out.print(f"[bold]comparison[/bold] {shown(folder / 'comparison.csv')}")
