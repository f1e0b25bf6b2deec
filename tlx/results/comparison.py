"""A sweep's comparison: its runs side by side, the failed ones with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlx.errors import EXIT_BUG, InputError
from tlx.results.console import amount, say
from tlx.results.run_folder import RunFolder, shown
from tlx.results.spreadsheet import as_csv
from tlx.storage import read_json, write_text

COLUMNS = (
    "run", "status", "exit_code", "case", "backbone", "init", "cut", "freeze", "data", "seed",
    "train_images", "val_accuracy", "test_accuracy", "test_balanced_accuracy", "test_macro_f1", "test_loss",
    "parameters_kept", "parameters_trained", "seconds", "overrides", "reason",
)  # fmt: skip


def collect(folder: Path, jobs: list[tuple[Path, list[str]]]) -> list[dict[str, Any]]:
    """Read every job of a sweep, given as (run folder, overrides), in order: one row each.

    Besides the columns of ``comparison.csv``, which is written, a row holds what was set, ``settings``.
    """
    rows = []
    for path, overrides in jobs:
        run = RunFolder(path)
        settings = {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in overrides)}
        rows.append({"run": run.path.name, "overrides": " ".join(overrides), "settings": settings, **_outcome(run)})
    write_text(folder / "comparison.csv", as_csv(COLUMNS, rows))
    return rows


def _outcome(run: RunFolder) -> dict[str, Any]:
    """Say how a run ended; a damaged file costs its own row, not the comparison."""
    try:
        if run.result.is_file():
            return _row(read_json(run.result))
        failure = read_json(run.failure) if run.failure.is_file() else {"reason": "never started", "exit_code": 1}
        return {"status": "failed", "exit_code": failure["exit_code"], "reason": failure["reason"]}
    except (InputError, KeyError, TypeError) as error:
        reason = f"{run.result.name} or {run.failure.name} is damaged ({error})"
        return {"status": "failed", "exit_code": EXIT_BUG, "reason": reason}


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


def show(out: Console, folder: Path, rows: list[dict[str, Any]]) -> None:
    """Print the comparison, the failures below it: of what was asked for, that in which the jobs differ."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=None)
    table.add_column("run")
    differing = differences(rows)
    for title in differing:
        table.add_column(Text(title))
    for title in ("trained", "val accuracy", "test accuracy", "balanced", "macro F1", "seconds"):
        table.add_column(title, justify="right")
    done = [row for row in rows if row["status"] == "done"]
    best = max((row["test_accuracy"] for row in done), default=None)
    same_images = len({row["data"] for row in done}) == 1
    for index, row in enumerate(rows):
        if row["status"] != "done":
            continue
        table.add_row(
            Text(row["run"]), *(Text(values[index]) for values in differing.values()),
            amount(row["parameters_trained"]), f"{row['val_accuracy']:.4f}", f"{row['test_accuracy']:.4f}",
            f"{row['test_balanced_accuracy']:.4f}", f"{row['test_macro_f1']:.4f}", f"{row['seconds']:.1f}",
            style="bold green" if same_images and row["test_accuracy"] == best else "",
        )  # fmt: skip
    out.print()
    if done:
        out.print(table)
    failed = [row for row in rows if row["status"] != "done"]
    for row in failed:
        why = f"  {row['run']} (exit code {row['exit_code']}): {row['reason']}"
        out.print(Text.assemble(("failed", "bold red"), why), soft_wrap=True)
    if done and not same_images:
        out.print("The runs used different data: their accuracies do not compare. Fix it with data=...")
    say(out, "comparison", shown(folder / "comparison.csv"))


def differences(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Map what differs between jobs to its value in every row: what was swept, and what that chose besides."""
    found = swept(rows)
    for key in ("data", "init", "cut", "freeze"):
        chosen = [str(row.get(key, "")) for row in rows]
        if key not in found and len({row[key] for row in rows if key in row}) > 1:
            found[key] = chosen
    return found


def swept(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Map what was set differently for the jobs to its value in every row.

    Names and values are shortened to their last part, ``cut.name`` to ``name``, where they stay distinct.
    """
    settings = [row.get("settings", {}) for row in rows]
    keys = dict.fromkeys(key for setting in settings for key in setting)
    values = {key: [setting.get(key, "") for setting in settings] for key in keys}
    values = {key: given for key, given in values.items() if len(set(given)) > 1}
    names = dict(zip(values, _last_parts(list(values), "."), strict=True))
    return {names[key]: _last_parts(given, "/") for key, given in values.items()}


def _last_parts(texts: list[str], separator: str) -> list[str]:
    """Take the last part of each text, if as many are distinct then."""
    short = [text.rpartition(separator)[2] for text in texts]
    return short if len(set(short)) == len(set(texts)) else texts
