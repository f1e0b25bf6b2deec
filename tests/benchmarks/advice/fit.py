"""Write what the advisor knows of other data sets: ``tlx/assets/advice.json``.

Run: python -m tests.benchmarks.advice.fit

From ``truth.csv`` and ``evidence.jsonl`` beside this file. ``score`` judges every data set by what is fitted on the
others; what is written here is fitted on all of them, for images that are none of theirs.
"""

from __future__ import annotations

import json

from tests.benchmarks.advice.experience import fit, judged
from tlx.advice.expected import FILE


def main() -> None:
    """Fit and write."""
    tasks = judged()
    data = sorted({task.data for task in tasks})
    about = {
        "made_by": "python -m tests.benchmarks.advice.fit",
        "tasks": len({task.task for task in tasks}),
        "trainings": sum(len(task.strategies) for task in tasks),
        "data": data,
    }
    FILE.write_text(json.dumps({**about, **fit(tasks)}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(tasks)} tasks and seeds of {', '.join(data)}")


if __name__ == "__main__":
    main()
