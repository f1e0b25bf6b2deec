"""LogME: the evidence is that of the Gaussian it stands for, at its maximum, and it tells good features from bad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tlx.features.logme import logme


def drawn(seed: int, count: int, width: int, classes: int = 2, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return rng.normal(size=(count, width)) + signal * rng.normal(size=(classes, width))[labels], labels


def by_hand(features: np.ndarray, labels: np.ndarray) -> float:
    """Maximise the density of y under N(0, FFᵀ/alpha + 1/beta) over both, by a general method."""
    gram = features @ features.T
    found = []
    for label in np.unique(labels):
        y = (labels == label).astype(float)

        def loss(logs: np.ndarray, y: np.ndarray = y) -> float:
            alpha, beta = np.exp(logs.clip(-20, 20))
            covariance = gram / alpha + np.eye(len(y)) / beta
            return float(-multivariate_normal.logpdf(y, np.zeros(len(y)), covariance))

        starts = [np.array([a, b]) for a in (0.0, 4.0) for b in (0.0, 2.0)]
        found.append(-min(minimize(loss, start, method="Nelder-Mead", tol=1e-8).fun for start in starts) / len(y))
    return float(np.mean(found))


@pytest.mark.parametrize(("count", "width", "classes"), [(30, 4, 2), (24, 10, 3), (12, 20, 2), (15, 15, 3)])
def test_the_evidence_is_that_of_the_gaussian_at_its_maximum(count: int, width: int, classes: int) -> None:
    features, labels = drawn(count, count, width, classes)
    assert logme(features, labels) == pytest.approx(by_hand(features, labels), abs=2e-4)


def test_features_that_tell_the_classes_apart_score_higher() -> None:
    scores = [logme(*drawn(3, 200, 8, signal=signal)) for signal in (0.0, 0.5, 2.0)]
    assert scores == sorted(scores)
    assert scores[2] > scores[0] + 0.3


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000), count=st.integers(2, 40), width=st.integers(1, 40), scale=st.sampled_from([1e-3, 1, 1e3])
)
def test_it_is_finite_and_knows_neither_order_nor_rotation(seed: int, count: int, width: int, scale: float) -> None:
    features, labels = drawn(seed, count, width)
    score = logme(features * scale, labels)
    assert np.isfinite(score)
    order = np.random.default_rng(seed).permutation(count)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    assert logme(features[order] * scale, labels[order]) == pytest.approx(score, rel=1e-4, abs=1e-4)
    assert logme(features @ turn * scale, labels) == pytest.approx(score, rel=1e-4, abs=1e-4)


def test_features_that_say_nothing_at_all() -> None:
    assert np.isfinite(logme(np.zeros((6, 3)), np.arange(6) % 2))


@pytest.mark.parametrize(("features", "labels"), [(np.zeros((0, 3)), np.zeros(0)), (np.zeros((3, 2)), np.zeros(2))])
def test_what_does_not_belong_together_is_refused(features: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels"):
        logme(features, labels)
