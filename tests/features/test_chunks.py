"""Chunks: one pass tells means and deviations, however large the numbers are and however they are read."""

from __future__ import annotations

import numpy as np
import pytest

from tests.features.clusters import Rows
from tlx.features.chunks import chunks, classify, gather, scale_of


def drawn(count: int = 1000, width: int = 5) -> np.ndarray:
    rng = np.random.default_rng(0)
    place, size = np.array([0, 1e4, -3, 50, 0.0]), np.array([1, 1, 1e-2, 7, 100.0])
    return (rng.normal(size=(count, width)) * size + place).astype(np.float32)


@pytest.mark.parametrize("chunk", [5, 5 * 300, 2**21])
def test_scale_is_that_of_all_rows(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.features.chunks.CHUNK", chunk)
    features = drawn()
    scale = scale_of(Rows(features))
    exact = features.astype(np.float64)
    np.testing.assert_allclose(scale.mean, exact.mean(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(scale.deviation, exact.std(0), rtol=1e-5)
    assert not np.allclose(scale.deviation, exact[:256].std(0), rtol=1e-5)  # a chunk alone says something else


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e4, 0.1, 1e7])
def test_a_feature_that_never_varies_has_deviation_one(constant: float) -> None:
    features = drawn(70_000)[:, :2].copy()
    features[:, 1] = constant
    scale = scale_of(features)
    assert scale.deviation[1] == 1.0
    assert not scale.standardise(features)[:, 1].any()
    features[-1, 1] += max(constant, 1.0) * 0.5
    assert scale_of(features).deviation[1] != 1.0


def test_chunks_are_the_rows_in_order() -> None:
    features = drawn(2**21 // 5 + 1000)
    rows = Rows(features)
    parts = list(chunks(rows))
    assert len(parts) == 2
    assert np.array_equal(np.concatenate([part for _, part in parts]), features)
    assert all(np.array_equal(features[where], part) for where, part in parts)
    assert rows.most == 2**21 // 5


def test_some_rows_are_gathered_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.features.chunks.CHUNK", 5)
    features, part = drawn(), np.unique(np.random.default_rng(2).integers(0, 1000, 200))
    rows = Rows(features)
    assert np.array_equal(gather(rows, part), features[part])
    assert rows.most == 256
    assert np.array_equal(gather(rows, np.arange(1000)), features)
    assert gather(rows, np.arange(0)).shape == (0, 5)


def test_logits_are_those_of_a_layer() -> None:
    features, weight, bias = drawn(), np.random.default_rng(1).normal(size=(3, 5)), np.arange(3.0)
    logits = classify(Rows(features), weight, bias)
    np.testing.assert_allclose(logits.numpy(), features @ weight.T + bias, rtol=1e-4, atol=1e-2)
