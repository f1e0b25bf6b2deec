"""How good the advice is: regret of ``case=auto`` and of rules of thumb, and how far its expectations hold.

Run: python -m tests.benchmarks.advice.score

No task is judged by what its own data set has taught: for each, the experience is fitted anew on the tasks of all
other data sets (all sizes and backbones of its own left out). Regret of a task: the mean test accuracy, over seeds, of
the best strategy less that of the chosen ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.advice.experience import Known, advised, fit, judged, name_of
from tlx.advice.outlook import expect
from tlx.advice.strategy import WHOLE, Strategy
from tlx.results.advice import LARGE

ALIKE = {("hymenoptera", "mobilenetv1"), ("cifar10", "mobilenetv1"), ("digits", "embedded"), ("greek", "embedded")}


@dataclass(frozen=True)
class Scored:
    """A task with all its seeds: regret by rule with the error of the truth, and how expectations held.

    ``width``: of the interval; ``luck``: of what it would be if other data sets had taught everything exactly, and only
    the images differed that probes are judged by and networks tested with.
    """

    task: str
    images: int
    similarity: float
    best: str
    accuracy: float
    chosen: str
    regret: dict[str, float]
    error: dict[str, float]
    inside: tuple[bool, ...]
    width: float
    luck: float


def small_similar(task: Known) -> Strategy:
    """Always the whole frozen trunk."""
    return next(s for s in task.strategies if s.case == "small_similar")


def full(task: Known) -> Strategy:
    """Always full fine-tuning."""
    return next(s for s in task.strategies if s.kind == "full")


def textbook(task: Known) -> Strategy:
    """By the number of images, and similar by name."""
    alike = (task.data, task.task.split("-")[-1]) in ALIKE
    if task.evidence.images < LARGE:
        if alike:
            return small_similar(task)
        stages = [s for s in task.strategies if s.kind == "frozen" and s.case == "small_different"]
        return stages[len(stages) // 2]  # half of the stages
    return full(task) if alike else next(s for s in task.strategies if s.kind == "scratch")


RULES: dict[str, Callable[[Known], Strategy]] = {
    "always small_similar": small_similar,
    "always full fine-tuning": full,
    "textbook": textbook,
}


def scored(tasks: Sequence[Known], own: bool = False) -> list[Scored]:
    """Judge every task by the experience of other data sets; ``own``: by that of all, as a person is advised."""
    every = {t.data for t in tasks}
    without = {data: fit([t for t in tasks if t.data != data]) for data in every} if not own else {}
    known = fit(tasks) if own else {}
    found = []
    for name in dict.fromkeys(task.task for task in tasks):
        seeds = [task for task in tasks if task.task == name]
        means = {s: float(np.mean([task.truth[s] for task in seeds])) for s in map(name_of, seeds[0].strategies)}
        best = max(means, key=lambda s: means[s])
        verdicts = [advised(task, known if own else without[task.data]) for task in seeds]
        told = list(zip(seeds, verdicts, strict=True))
        chosen: dict[str, list[Strategy]] = {
            "auto": [verdict.advised for verdict, _ in verdicts],
            **{rule: [choose(task) for task in seeds] for rule, choose in RULES.items()},
        }
        behind = {
            rule: np.array([task.truth[best] - task.accuracy(one) for task, one in zip(seeds, taken, strict=True)])
            for rule, taken in chosen.items()
        }
        taken = [task.accuracy(one) for task, one in zip(seeds, chosen["auto"], strict=True)]
        spans = [expected.interval for _, expected in verdicts]
        found.append(
            Scored(
                task=name,
                images=seeds[0].evidence.images,
                similarity=float(np.mean([t.evidence.similarity.value for t in seeds])),
                best=best,
                accuracy=means[best],
                chosen=" / ".join(dict.fromkeys(map(name_of, chosen["auto"]))),
                regret={rule: float(one.mean()) for rule, one in behind.items()},
                error={rule: _error(one) for rule, one in behind.items()},
                inside=tuple(low <= one <= high for (low, high), one in zip(spans, taken, strict=True)),
                width=_width(spans),
                luck=_width([_lucky(task, known if own else without[task.data], v.advised) for task, (v, _) in told]),
            )
        )
    return found


def _lucky(task: Known, known: Mapping[str, Any], strategy: Strategy) -> tuple[float, float]:
    """Return the interval of a strategy by an experience that is never wrong."""
    exact = {kind: {**known[kind], "deviation": 1e-6} for kind in WHOLE}
    exact["frozen"] = {**known["frozen"], "level": 0.0}
    (one,) = expect([strategy], task.evidence, (), exact)
    return one.interval


def _width(spans: Sequence[tuple[float, float]]) -> float:
    return float(np.mean([high - low for low, high in spans]))


def _error(apart: np.ndarray) -> float:
    """Return the standard error of a mean over seeds; of one seed, nothing is known of it."""
    return float(apart.std(ddof=1) / np.sqrt(len(apart))) if len(apart) > 1 else 0.0


def main() -> None:
    """Print the tables."""
    tasks = judged()
    found, owned = scored(tasks), scored(tasks, own=True)
    print(f"{'task':30} {'images':>6} {'similar':>7}  {'best':20} {'':>5}  {'advised':34} {'regret of auto':>14}")
    for row in found:
        told = f"{100 * row.regret['auto']:.1f} ± {100 * row.error['auto']:.1f}"
        print(
            f"{row.task:30} {row.images:>6} {row.similarity:>7.2f}  {row.best:20} {100 * row.accuracy:>5.1f}  "
            f"{row.chosen:34} {told:>14}"
        )
    print(f"\n{'rule':26} {'mean regret':>11} {'beyond the error':>16} {'worst':>6} {'beyond the error':>16}")
    for name, rows, rule in (
        ("auto", found, "auto"),
        ("auto, own data known", owned, "auto"),
        *((r, found, r) for r in RULES),
    ):
        regrets = np.array([100 * row.regret[rule] for row in rows])
        beyond = np.array([max(0.0, 100 * (row.regret[rule] - row.error[rule])) for row in rows])
        print(f"{name:26} {regrets.mean():>11.2f} {beyond.mean():>16.2f} {regrets.max():>6.1f} {beyond.max():>16.1f}")
    inside = [one for row in found for one in row.inside]
    width, luck = (np.mean([100 * getattr(row, name) for row in found]) for name in ("width", "luck"))
    held = f"{100 * np.mean(inside):.0f} % of {len(inside)} hold, {width:.1f} points wide on average"
    print(f"\n90 % intervals: {held}; {luck:.1f} by the luck of the images alone")


if __name__ == "__main__":
    main()
