"""LogME: how well features suit labels, as the evidence of linear models of them (You et al., ICML 2021)."""

from __future__ import annotations

import numpy as np

ROUNDS = 100  # of the fixed point, which settles within a dozen
CONVERGED = 1e-6  # relative change of the evidence's two precisions
TINY = 1e-12


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over classes of the maximum log evidence a sample of "this class or not": higher suits better.

    ``features`` (N, D) enter as they are, ``labels`` (N,) are 0 to K - 1. Each class's 0/1 labels y are modelled as
    Fw + noise, w ~ N(0, 1/alpha), noise ~ N(0, 1/beta); the evidence p(y | F, alpha, beta) is maximised over alpha and
    beta by MacKay's fixed point, in the span of the features.

    Raises:
        ValueError: No images, or not as many labels as rows.
    """
    if features.ndim != 2 or len(features) != len(labels) or not len(labels):
        raise ValueError(f"features of shape {features.shape} and {len(labels)} labels")
    f = features.astype(np.float64)
    values, vectors = np.linalg.eigh(f.T @ f if f.shape[1] <= len(f) else f @ f.T)
    kept = values > TINY * max(float(values[-1]), TINY)
    squares = values[kept]  # of the singular values
    left = f @ vectors[:, kept] / np.sqrt(squares) if f.shape[1] <= len(f) else vectors[:, kept]
    classes = [_evidence(left, squares, (labels == label).astype(np.float64)) for label in np.unique(labels)]
    return float(np.mean(classes))


def _evidence(left: np.ndarray, squares: np.ndarray, y: np.ndarray) -> float:
    """Maximise the log evidence of one target, a sample; ``left`` (N, R), ``squares`` (R,): U and S² of F = U S Vᵀ."""
    count = len(y)
    inside = (left.T @ y) ** 2  # of y along every direction of the span
    outside = max(float(y @ y - inside.sum()), 0.0)
    alpha = beta = 1.0
    for _ in range(ROUNDS):
        ratio = alpha / beta
        effective = float((squares / (squares + ratio)).sum())  # parameters that the data determine
        weights = float((squares * inside / (squares + ratio) ** 2).sum())  # |w|²
        residual = float((inside * (ratio / (squares + ratio)) ** 2).sum()) + outside
        before = alpha, beta
        alpha = max(effective, TINY) / max(weights, TINY)
        beta = max(count - effective, TINY) / max(residual, TINY)
        if np.allclose((alpha, beta), before, rtol=CONVERGED, atol=0):
            break
    ratio = alpha / beta
    weights = float((squares * inside / (squares + ratio) ** 2).sum())
    residual = float((inside * (ratio / (squares + ratio)) ** 2).sum()) + outside
    evidence = (
        count * np.log(beta / (2 * np.pi))
        + np.log(alpha / (alpha + beta * squares)).sum()  # directions outside of the span cancel
        - beta * residual
        - alpha * weights
    ) / 2
    return float(evidence) / count
