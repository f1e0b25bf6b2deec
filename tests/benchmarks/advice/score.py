"""How good the advice is: regret of ``case=auto`` and of rules of thumb, and how far its expectations hold.

Run: python -m tests.benchmarks.advice.score

No task is judged by what its own data set has taught: for each, the experience is fitted anew on the tasks of all
other data sets (all sizes and backbones of its own left out). Regret of a task: the mean test accuracy, over seeds, of
the best strategy less that of the chosen ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.advice.experience import Known, advised, fit, judged, name_of
from tlx.advice.strategy import Strategy

LARGE = 2000  # training images, by the textbook
ALIKE = {("hymenoptera", "mobilenetv1"), ("cifar10", "mobilenetv1"), ("digits", "embedded"), ("greek", "embedded")}


@dataclass(frozen=True)
class Scored:
    """A task with all its seeds: regret by rule, the error of the truth, and how expectations held."""

    task: str
    images: int
    similarity: float
    best: str
    accuracy: float
    chosen: str
    error: float
    regret: dict[str, float]
    inside: tuple[bool, ...]
    width: float
    seconds: float


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


def scored(tasks: Sequence[Known]) -> list[Scored]:
    """Judge every task by the experience of other data sets."""
    without = {data: fit([t for t in tasks if t.data != data]) for data in {t.data for t in tasks}}
    found = []
    for name in dict.fromkeys(task.task for task in tasks):
        seeds = [task for task in tasks if task.task == name]
        means = {s: float(np.mean([task.truth[s] for task in seeds])) for s in map(name_of, seeds[0].strategies)}
        best = max(means, key=lambda s: means[s])
        verdicts = [advised(task, without[task.data]) for task in seeds]
        own = [task.accuracy(verdict.advised) for task, (verdict, _) in zip(seeds, verdicts, strict=True)]
        regret = {"auto": means[best] - float(np.mean(own))}
        for rule, choose in RULES.items():
            regret[rule] = means[best] - float(np.mean([task.accuracy(choose(task)) for task in seeds]))
        apart = [task.truth[best] - accuracy for task, accuracy in zip(seeds, own, strict=True)]
        error = float(np.std(apart, ddof=1) / np.sqrt(len(seeds))) if len(seeds) > 1 else 0.0
        spans = [expected.interval for _, expected in verdicts]
        found.append(
            Scored(
                name, seeds[0].evidence.images, float(np.mean([t.evidence.similarity.value for t in seeds])), best,
                means[best], " / ".join(dict.fromkeys(name_of(v.advised) for v, _ in verdicts)), error, regret,
                tuple(low <= accuracy <= high for (low, high), accuracy in zip(spans, own, strict=True)),
                float(np.mean([high - low for low, high in spans])), float(np.mean([t.seconds for t in seeds])),
            )
        )  # fmt: skip
    return found


def main() -> None:
    """Print the tables."""
    found = scored(judged())
    rules = ("auto", *RULES)
    print(f"{'task':30} {'images':>6} {'similar':>7}  {'best':20} {'':>5}  {'advised':34} {'regret of auto':>14}")
    for row in found:
        told = f"{100 * row.regret['auto']:.1f} ± {100 * row.error:.1f}"
        print(
            f"{row.task:30} {row.images:>6} {row.similarity:>7.2f}  {row.best:20} {100 * row.accuracy:>5.1f}  "
            f"{row.chosen:34} {told:>14}"
        )
    print(f"\n{'rule':26} {'mean regret':>11} {'beyond the error':>16} {'worst':>6}")
    for rule in rules:
        regrets = np.array([100 * row.regret[rule] for row in found])
        beyond = np.array([max(0.0, 100 * (row.regret[rule] - row.error)) for row in found])
        print(f"{rule:26} {regrets.mean():>11.2f} {beyond.mean():>16.2f} {regrets.max():>6.1f}")
    inside = [one for row in found for one in row.inside]
    width = np.mean([100 * row.width for row in found])
    print(f"\n90 % intervals: {100 * np.mean(inside):.0f} % of {len(inside)} hold, {width:.1f} points wide on average")


if __name__ == "__main__":
    main()
