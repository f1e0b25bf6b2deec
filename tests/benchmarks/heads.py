"""Which solver trains the best head on a frozen trunk's features: test accuracy and seconds, by task.

Run: python -m tests.benchmarks.heads SEEDS OVERRIDES [/ OVERRIDES ...], one task each, such as
``10 case=small_similar / case=small_different / case=small_similar data=folder data.root=PATH backbone=mobilenetv1
init.file=PATH cut=layer cut.name=blocks.4.0``. Prints a table in Markdown: percent, mean and deviation over seeds, the
mean loss (nats) on test images, and the median of the seconds that solving took, features at hand. A seed changes the
split, or what is drawn; whatever a solver chooses is chosen on validation images. Features of an image are computed
once. Of a test set beyond 2,000 images, 2,000 are taken, stratified. Each solver is used once before it is timed.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from tests.benchmarks.regret import banks, config_of, data_name, logged, shown
from tests.features.clusters import logits_of
from tlx.config.groups import KnnSolver, LbfgsSolver, NcmSolver, RidgeSolver
from tlx.config.roots import TrainConfig
from tlx.data.open import open_source
from tlx.features.bank import Bank
from tlx.features.solution import LinearSolution
from tlx.features.solver import Solver, solve
from tlx.training.work import assemble

SOLVERS: tuple[Solver | None, ...] = (LbfgsSolver(), RidgeSolver(), NcmSolver(), KnnSolver(), None)  # None: reference


class Found(NamedTuple):
    """One solver on one seed: accuracy and mean loss (nats) on test images, and seconds."""

    accuracy: float
    loss: float
    seconds: float


def reference(train: Bank, val: Bank, classes: int) -> LinearSolution:
    """Let scikit-learn take the path of ``solver=lbfgs``, for classes all of which have images."""
    mean, deviation = train.features.mean(0), train.features.std(0) + 1e-12
    inputs, labels = (train.features - mean) / deviation, torch.from_numpy(val.labels)
    model = LogisticRegression(max_iter=500, tol=1e-5, warm_start=True)
    best, lowest = None, np.inf
    for strength in LbfgsSolver().strengths:
        model.set_params(C=1 / (strength * len(inputs) / (2 if classes == 2 else 1))).fit(inputs, train.labels)
        weight, bias = model.coef_, model.intercept_
        if classes == 2:
            weight, bias = np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
        found = LinearSolution(weight / deviation, bias - weight / deviation @ mean, strength, ())
        loss = float(F.cross_entropy(logits_of(found, val.features, classes), labels))
        if loss < lowest:
            best, lowest = found, loss
    assert best is not None
    return best


def measure(solver: Solver | None, split: dict[str, Bank], classes: int) -> Found:
    """Solve a head and measure it on test images."""
    start = time.perf_counter()
    given = (split["train"], split["val"], classes)
    solution = reference(*given) if solver is None else solve(*given, solver)
    seconds = time.perf_counter() - start
    logits, labels = logits_of(solution, split["test"].features, classes), torch.from_numpy(split["test"].labels)
    right = float((logits.argmax(1) == labels).float().mean())
    return Found(right, float(F.cross_entropy(logits, labels)), seconds)


def lines(config: TrainConfig, seeds: range) -> list[str]:
    """Measure a task with every solver and lay out its rows."""
    source = open_source(config.data, config.seed)
    network, seen, _ = assemble(config, source)
    splits, classes = banks(config, network, seen, seeds), len(source.classes)
    rows = []
    for solver in SOLVERS:
        measure(solver, splits[0], classes)
        found = [measure(solver, split, classes) for split in splits]
        right, loss, seconds = (np.array(column) for column in zip(*found, strict=True))
        counts = f"{len(splits[0]['train'].labels):,} x {network.trunk.width:,}, {classes} classes"
        cells = (
            data_name(config),
            counts,
            solver.kind if solver else "scikit-learn's lbfgs",
            shown(right),
            f"{loss.mean():.3f}",
            f"{np.median(seconds):.3f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Print the table."""
    heads = ("images", "features for training", "solver", "test accuracy", "test loss", "seconds")
    sys.stdout.write(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    with logged(None):
        for words in " ".join(sys.argv[2:]).split(" / "):
            for row in lines(config_of(words.split()), range(int(sys.argv[1]))):
                sys.stdout.write(row + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
