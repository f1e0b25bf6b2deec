"""Paired tests find differences that are there, and few that are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tlx.results.paired import LEVEL, paired


def test_only_images_that_one_alone_has_right_count() -> None:
    one = np.array([True] * 40 + [False] * 10)
    other = np.array([True] * 30 + [False] * 15 + [True] * 5)
    (pair,) = paired([one, other], [(0, 1)])
    assert (pair.only_one, pair.only_other, pair.images) == (10, 5, 50)
    assert pair.difference == pytest.approx(0.1)
    assert pair.p == pytest.approx(2 * binom.cdf(5, 15, 0.5))  # McNemar's exact test
    assert pair.adjusted == pair.p
    assert not pair.real


def test_chance_alone_is_rarely_called_real_and_a_difference_mostly_is() -> None:
    rng = np.random.default_rng(0)
    found = {0.0: 0, 0.1: 0}
    for better in found:
        for _ in range(200):
            one, other = rng.random(400) < 0.8 + better, rng.random(400) < 0.8
            found[better] += paired([one, other], [(0, 1)])[0].real
    assert found[0.0] <= 200 * LEVEL
    assert found[0.1] > 150


def test_many_tests_ask_for_more() -> None:
    rng = np.random.default_rng(1)
    right = [rng.random(300) < 0.7 for _ in range(12)]
    pairs = [(i, j) for i in range(12) for j in range(i)]
    found = paired(right, pairs)
    plain = [p.p < LEVEL for p in found]
    assert any(plain)  # the negative control: by chance, some of 66 are below
    assert not any(p.real for p in found)
    smallest = min(found, key=lambda p: p.p)
    assert smallest.adjusted == pytest.approx(min(1, 66 * smallest.p))


@given(st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=2, max_size=5))
def test_adjusted_values_keep_their_order(rows: list[list[bool]]) -> None:
    right = [np.array(row) for row in rows]
    found = paired(right, [(0, i) for i in range(1, len(right))])
    order = sorted(found, key=lambda pair: pair.p)
    assert all(0 <= pair.p <= pair.adjusted <= 1 for pair in found)
    assert [pair.adjusted for pair in order] == sorted(pair.adjusted for pair in found)


def test_equal_runs_do_not_differ() -> None:
    right = np.array([True, False, True])
    assert paired([right, right], [(0, 1)])[0].p == 1.0
    assert paired([], []) == []
