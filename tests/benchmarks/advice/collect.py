"""What advice finds out about every task, kept as a file beside this one, so that verdicts can be judged offline.

Run: python -m tests.benchmarks.advice.collect [the words of truth.py]

Every advice starts from empty caches, so that its seconds are those of a first time. Trials are made wherever there is
time for them: which of them are worth it depends on experience, of which no task may have its own. A line that stands
in the file is not made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

from tests.benchmarks.advice.tasks import Places, Task, known
from tests.benchmarks.advice.truth import SEEDS, asked_for

FILE = Path(__file__).with_name("evidence.jsonl")
QUIET = ("callbacks.progress=false", "report=false", "trainer=cpu", "trainer.precision=32", "data.workers=0")
SEEN = ("images", "classes", "per_class", "left_out", "copies", "logme", "similarity")

Line = dict[str, Any]


def lines() -> list[Line]:
    """Read the file."""
    return [json.loads(line) for line in FILE.read_text("utf-8").splitlines()] if FILE.is_file() else []


def collect(task: Task, seed: int, places: Places) -> Line:
    """Ask for advice on a task; return what a verdict needs."""
    from tlx.advice import advise as module
    from tlx.notebook import advise

    cache, folder = (places.scratch / f"{name}{os.getpid()}" for name in ("advice_cache", "advice"))
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    os.environ["TLX_CACHE"] = str(cache)
    weights = [f"init.file={places.weights}"] if task.backbone == "mobilenetv1" else []
    started = time.monotonic()
    always = mock.patch.object(module, "worth_trying", return_value=True)
    with contextlib.redirect_stdout(io.StringIO()), always:
        told = advise(*task.words(places, seed), *weights, *QUIET, f"output={folder}")
    evidence = told["evidence"]
    curve = evidence["learning_curve"]
    return {
        "task": task.name,
        "seed": seed,
        **{key: evidence[key] for key in SEEN},
        "profile": evidence["profile"],
        "random": evidence["random_profile"],
        "curve": curve and {key: curve[key] for key in ("points", "floor", "scale", "exponent")},
        "judged": evidence["judged"],
        "judges": evidence["judges"],
        "trials": told["trials"],
        "untried": told["untried"],
        "seconds": round(time.monotonic() - started, 2),
        "advice_seconds": round(told["seconds"], 2),
        "estimated": {row["kind"]: round(row["cost"]["seconds"], 2) for row in told["strategies"]},
    }


def main() -> None:
    """Complete the file."""
    places, seeds, backbone, until = asked_for()
    for seed in seeds:
        for task in known(places):
            done = {(line["task"], line["seed"]) for line in lines()}
            if backbone not in ("", task.backbone) or (task.name, seed) in done:
                continue
            if time.monotonic() > until:
                raise SystemExit("time is up; run it again to go on")
            line = collect(task, seed, places)
            with FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            best = max(row["accuracy"] for row in line["profile"]["rows"])
            tried = " ".join(
                f"{t['kind']} {100 * t['gain']:+.1f}±{100 * t['standard_error']:.1f}" for t in line["trials"]
            )
            told = f"{task.name:32} {seed} {best:.3f} similar {line['similarity']['value']:.2f}"
            print(f"{told} {tried or line['untried']} {line['seconds']:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    assert SEEDS
    main()
