"""Descent: it ends at the minimum, and says when it did not."""

from __future__ import annotations

import numpy as np
import pytest

from tlx.features.descent import Memory, minimise


def bowl(count: int = 30, condition: float = 1e4) -> tuple[np.ndarray, np.ndarray]:
    """Return a quadratic's curvature, far from round, and its minimum."""
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(count, count)))[0]
    return turned * np.geomspace(1, condition, count) @ turned.T, rng.normal(size=count)


def test_it_finds_the_minimum_of_what_is_far_from_round() -> None:
    curvature, best = bowl()
    slope = lambda at: curvature @ (at - best)  # noqa: E731
    found, converged = minimise(slope, np.zeros(30), np.diag(curvature), Memory(), 1e-8, 2000)
    assert converged
    np.testing.assert_allclose(found, best, atol=1e-7)
    _, converged = minimise(slope, np.zeros(30), np.diag(curvature), Memory(), 1e-8, 5)
    assert not converged


@pytest.mark.parametrize("start", [-30.0, -1.0, 1e-9, 5.0, 30.0])
def test_it_finds_the_minimum_of_what_is_no_quadratic(start: float) -> None:
    """Steep on one side, flat on the other: first steps are far too long or far too short."""
    slope = lambda at: np.exp(np.clip(at, None, 99)) - 2 + 1e-3 * at  # noqa: E731
    found, converged = minimise(slope, np.array([start]), np.ones(1), Memory(), 1e-9, 500)
    assert converged
    assert abs(float(slope(found)[0])) <= 1e-9


def test_what_is_known_of_the_curvature_saves_steps() -> None:
    curvature, best = bowl(15, 100)
    calls = []

    def slope(at: np.ndarray) -> np.ndarray:
        calls.append(at)
        return curvature @ (at - best) + stiff * at

    memory, stiff = Memory(), 0.0
    minimise(slope, np.zeros(15), np.ones(15), memory, 1e-6, 500)
    fresh = len(calls)
    stiff = 0.3
    memory.stiffen(np.full(15, 0.3))
    assert all(np.allclose(change, curvature @ step + 0.3 * step) for step, change in memory.pairs)
    calls.clear()
    minimise(slope, best, np.ones(15), memory, 1e-6, 500)
    known = len(calls)
    calls.clear()
    minimise(slope, best, np.ones(15), Memory(), 1e-6, 500)
    assert known < len(calls) <= fresh * 2


def test_a_slope_that_is_no_number_ends_it() -> None:
    found, converged = minimise(
        lambda at: np.full(2, np.nan) if at.any() else np.ones(2), np.zeros(2), np.ones(2), Memory(), 1e-6, 50
    )
    assert not converged
    assert np.isfinite(found).all()


def test_no_curvature_is_remembered_that_is_none() -> None:
    memory = Memory()
    memory.add(np.ones(3), -np.ones(3))
    assert memory.pairs == []
    memory.add(np.ones(3), np.ones(3))
    memory.stiffen(np.full(3, -2.0))
    assert memory.pairs == []
