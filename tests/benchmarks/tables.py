"""From a sweep's comparison.csv to the README's tables: mean and deviation over seeds, in Markdown.

Run: python tests/benchmarks/tables.py SWEEP_FOLDER [ROW_COLUMN [COLUMN_COLUMN]]; columns of comparison.csv, by default
``case`` by ``data``. A row column may also be a key of the overrides, such as ``cut.name``.
"""

from __future__ import annotations

import csv
import statistics
import sys
from pathlib import Path


def value_of(row: dict[str, str], column: str) -> str:
    """Read a column, or an override's value."""
    if column in row:
        return row[column]
    return dict(word.partition("=")[::2] for word in row["overrides"].split()).get(column, "")


def cell(found: list[float]) -> str:
    """Show mean and sample deviation."""
    if not found:
        return ""
    spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.3f}{spread}"


def main() -> None:
    """Print the table."""
    folder, across, down = [*sys.argv[1:], "case", "data"][:3] if len(sys.argv) < 4 else sys.argv[1:4]
    with (Path(folder) / "comparison.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "done"]
    heads = list(dict.fromkeys(value_of(row, down) for row in rows))
    lines = [f"| {across} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in dict.fromkeys(value_of(row, across) for row in rows):
        cells = []
        for head in heads:
            mine = [row for row in rows if value_of(row, across) == name and value_of(row, down) == head]
            cells.append(cell([float(row["test_accuracy"]) for row in mine]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
