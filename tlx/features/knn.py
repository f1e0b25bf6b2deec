"""``solver=knn``: votes of the training images most like an image."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from tlx.config.groups import KnnSolver
from tlx.errors import InputError
from tlx.features.bank import Bank
from tlx.features.chunks import chunks
from tlx.features.judge import best_of, judged
from tlx.features.solution import NeighboursSolution, Row
from tlx.features.temperature import fit_sharpness
from tlx.network.neighbours import elect, search, tell

BYTES = 4  # a number
GIGA = 1e9


def solve_knn(
    train: Bank, val: Bank, num_classes: int, config: KnnSolver, class_weights: torch.Tensor | None
) -> NeighboursSolution:
    """Store every training image's features, and choose how many of the most similar vote.

    Similarity is the cosine of the features as they are; see ``Neighbours``. A vote counts its class's weight. Every
    k of the list up to the number of training images is tried (more are taken as all of them), each with the sharpness
    that suits validation data best; the k with the lowest validation loss is taken. Training images are their own
    first neighbours: what is measured on them says nothing.

    Raises:
        InputError: The features are more than ``most_gigabytes``.
    """
    count, width = train.features.shape
    if (size := count * width * BYTES / GIGA) > config.most_gigabytes:
        what = f"solver=knn would keep {count:,} x {width:,} features in the model, {size:.1f} GB"
        raise InputError(what, f"choose solver=lbfgs, or raise solver.most_gigabytes={config.most_gigabytes:g}")
    rows = torch.empty(count, width)
    for where, part in chunks(train.features):
        rows[where] = F.normalize(torch.from_numpy(np.array(part)), dim=1)
    labels = torch.from_numpy(np.array(train.labels, dtype=np.int64))
    votes = torch.ones(count) if class_weights is None else class_weights.float()[labels]
    present = torch.bincount(labels, minlength=num_classes) > 0
    tried = sorted({min(k, count) for k in config.neighbours})
    found = [search(rows, torch.from_numpy(np.array(part)), tried[-1]) for _, part in chunks(val.features)]
    cosines, indices = (torch.cat(parts) for parts in zip(*found, strict=True))
    voters, counts = labels[indices], votes[indices]
    truth, place = torch.from_numpy(np.array(val.labels)), present.cumsum(0) - 1
    known = present[truth]  # nothing suits images of a class without training images
    path: list[Row] = []
    for k in tried:
        shares = elect(cosines[:, :k], voters[:, :k], counts[:, :k], config.temperature, present)
        sharpness = fit_sharpness(shares[known][:, present].log(), place[truth[known]])
        path.append({"k": k, **judged(tell(shares, sharpness), val.labels), "sharpness": sharpness})
    best = path[best_of(path)]
    return NeighboursSolution(
        rows, labels, votes, int(best["k"]), config.temperature, float(best["sharpness"]), tuple(path)
    )
