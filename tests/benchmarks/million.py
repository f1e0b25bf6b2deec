"""Open a table of a million images: ``python -m tests.benchmarks.million [IMAGES IMAGES_A_FOLDER]``.

Makes empty files and a CSV file of them with splits and groups in a temporary folder, opens it in a process of its own,
and prints the seconds and the most memory that took.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

OPEN = """
import resource, sys, time
import tlx.data.own.table as tables
from tlx.config.groups import TableData
started = time.perf_counter()
found = tables.open_table(TableData(file=sys.argv[1], split_column="split", group_column="group"))
seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(images.labels) for images in found.given.values())
print(f"{count:,} images: {seconds:.1f} s, {peak / 1024:.0f} MB at most")
"""


def make(root: Path, count: int, a_folder: int) -> Path:
    """Make the files and the table."""
    rows = ["image,label,split,group"]
    for number in range(count // a_folder):
        folder = Path(f"class_{number % 1000:04d}") / f"part_{number // 1000:03d}"
        (root / folder).mkdir(parents=True)
        for index in range(a_folder):
            file = folder / f"photograph_{index:06d}.jpg"
            (root / file).touch()
            split = ("train", "train", "train", "val", "test")[index % 5]
            rows.append(f"{file},{folder.parts[0]},{split},patient_{index // 4}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root / "table.csv"


if __name__ == "__main__":
    count, a_folder = map(int, sys.argv[1:] or ("1000000", "250"))
    with tempfile.TemporaryDirectory() as place:
        table = make(Path(place), count, a_folder)
        for _ in range(3):
            subprocess.run([sys.executable, "-c", OPEN, str(table)], check=True)
