"""The outlook: what is expected, and what is advised."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import KNOWN, every, evidence, trial
from tlx.advice.outlook import INDIFFERENT, WHOLE, decide, expect, experience, terms

SHARES = st.floats(0.05, 1.0)


def test_a_frozen_trunk_is_expected_to_do_what_its_probe_does() -> None:
    known = evidence()
    expected = [expect(s, known, [], KNOWN) for s in every(known) if s.kind == "frozen"]
    assert [e.accuracy for e in expected] == pytest.approx([0.5, 0.7, 0.8, 0.79])
    assert expected[0].deviation == pytest.approx(np.hypot(0.01, 0.02))
    low, high = expected[0].interval
    assert (low, high) == pytest.approx((0.5 - 1.645 * 0.02236, 0.5 + 1.645 * 0.02236), abs=1e-4)


def test_a_trials_gain_is_expected_again_as_far_as_it_is_certain() -> None:
    known = evidence()
    full = next(s for s in every(known) if s.kind == "full")
    certain, doubtful = (expect(full, known, [trial("full", 0.1, error)], KNOWN).accuracy for error in (1e-6, 0.2))
    assert certain == pytest.approx(0.9)
    assert 0.8 < doubtful < 0.85


def test_what_starts_from_pretrained_weights_learns_from_a_trial_that_does() -> None:
    known = evidence()
    lp_ft, full, scratch = (s for s in every(known) if s.kind in WHOLE)
    tried = [trial("lp_ft", 0.1, 1e-6)]
    assert expect(lp_ft, known, tried, KNOWN).accuracy == pytest.approx(0.9)
    assert expect(full, known, tried, KNOWN).accuracy == pytest.approx(0.9)
    assert expect(scratch, known, tried, KNOWN) == expect(scratch, known, [], KNOWN)


def test_the_cheapest_of_equals_is_advised() -> None:
    known = evidence([0.5, 0.799, 0.8], 0.803)
    verdict, expected = decide(every(known), known, [trial(kind, -0.1, 1e-6) for kind in WHOLE], KNOWN)
    assert verdict.advised.place == "up to stage 1 (layer1)"
    assert verdict.runner_up is not None
    assert verdict.runner_up.case != verdict.advised.case
    best = max(one.accuracy for one in expected)
    assert expected[1].accuracy > best - INDIFFERENT


def test_a_clear_gain_is_worth_its_cost_and_the_next_case_is_named() -> None:
    known = evidence()
    verdict, _ = decide(every(known), known, [trial("lp_ft", 0.1, 1e-6)], KNOWN)
    assert verdict.advised.kind == "lp_ft"
    assert verdict.runner_up is not None
    assert verdict.runner_up.case == "small_similar"


def test_more_images_may_change_the_case_and_only_by_more_than_nothing() -> None:
    known = evidence(images=500)
    far = deepcopy(KNOWN)
    far["full"]["no trial"] = {"weights": [0.0, 0.6, 0.0], "deviation": 0.1}
    verdict, _ = decide(every(known), known, [], far)
    assert verdict.advised.case == "small_similar"
    assert verdict.overtaken == (3, "large_similar")
    never = {**KNOWN, **{kind: {"no trial": {"weights": [-0.5, 0.0, 0.0], "deviation": 0.1}} for kind in WHOLE}}
    assert decide(every(known), known, [], never)[0].overtaken is None


@given(st.lists(SHARES, min_size=1, max_size=5), st.integers(20, 10**6), st.floats(0, 1), st.floats(-0.5, 0.5))
def test_expectations_are_shares_and_advice_is_never_far_from_the_best(
    accuracies: list[float], images: int, worth: float, gain: float
) -> None:
    known = evidence(accuracies, accuracies[0] if accuracies[1:] else None, [0.05], images, worth)
    verdict, expected = decide(every(known), known, [trial("lp_ft", gain, 0.05)], experience())
    assert all(0 <= low <= one.accuracy <= high <= 1 for one in expected for low, high in [one.interval])
    chosen = expected[every(known).index(verdict.advised)]
    assert chosen.accuracy >= max(one.accuracy for one in expected) - INDIFFERENT


def test_nothing_is_gained_where_there_are_no_errors() -> None:
    known = evidence([1.0])
    assert not terms(1.0, known, None).any()
    assert not terms(1.0, known, trial("lp_ft", 0.3, 0.0)).any()


def test_experience_says_where_it_is_from_and_is_of_every_kind() -> None:
    known = experience()
    for kind in WHOLE:
        assert len(known[kind]["trial"]["weights"]) == len(terms(0.5, evidence(), trial(kind, 0.1)))
        assert len(known[kind]["no trial"]["weights"]) == len(terms(0.5, evidence(), None))
        assert known[kind]["trial"]["deviation"] > 0
    assert known["made_by"].startswith("python -m tests.benchmarks.advice")
