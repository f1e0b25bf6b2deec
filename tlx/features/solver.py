"""The solvers of frozen cases: a head, trained on a frozen trunk's features, without epochs."""

from __future__ import annotations

import torch

from tlx.config.groups import KnnSolver, LbfgsSolver, NcmSolver, RidgeSolver
from tlx.features.bank import Bank
from tlx.features.knn import solve_knn
from tlx.features.lbfgs import solve_lbfgs
from tlx.features.ncm import solve_ncm
from tlx.features.ridge import solve_ridge
from tlx.features.solution import Solution
from tlx.one_thread import SMALL, one_thread

Solver = LbfgsSolver | RidgeSolver | NcmSolver | KnnSolver


def solve(
    train: Bank, val: Bank, num_classes: int, config: Solver, class_weights: torch.Tensor | None = None
) -> Solution:
    """Train a head on the features of training images; whatever is chosen is chosen on those of validation images.

    No class without training images is ever predicted. ``class_weights`` (num_classes,) is what an image of a class
    counts. Features are read in chunks: they may lie on disk. The same banks give the same head, to the last bit.

    Raises:
        InputError: ``solver=knn`` would keep more than it may.
    """
    with one_thread(len(train.labels) * train.features.shape[1] * num_classes < SMALL):
        return _solved(train, val, num_classes, config, class_weights)


def _solved(train: Bank, val: Bank, num_classes: int, config: Solver, class_weights: torch.Tensor | None) -> Solution:
    if isinstance(config, LbfgsSolver):
        return solve_lbfgs(train, val, num_classes, config, class_weights)
    if isinstance(config, RidgeSolver):
        return solve_ridge(train, val, num_classes, config, class_weights)
    if isinstance(config, NcmSolver):
        return solve_ncm(train, val, num_classes)
    return solve_knn(train, val, num_classes, config, class_weights)
