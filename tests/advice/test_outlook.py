"""The outlook: what is expected, and what is advised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import KNOWN, every, evidence, trial
from tlx.advice.evidence import Evidence, Judged
from tlx.advice.outlook import (
    INDIFFERENT,
    WHOLE,
    Expected,
    best_frozen,
    decide,
    expect,
    experience,
    gained,
    terms,
)
from tlx.advice.trial import Trial

SHARES = st.floats(0.05, 1.0)


def frozen(known: Evidence, experience: dict[str, Any] = KNOWN) -> list[Expected]:
    return [expect(s, known, [], experience) for s in every(known) if s.kind == "frozen"]


def test_a_frozen_trunk_is_expected_to_do_what_its_probes_do() -> None:
    known = replace(evidence(), curve=None)
    expected = frozen(known)
    assert [e.accuracy for e in expected] == pytest.approx([0.5, 0.7, 0.8, 0.79])
    assert expected[0].deviation == pytest.approx(np.hypot(0.01, 0.02) / np.sqrt(2))
    low, high = expected[0].interval
    assert (low, high) == pytest.approx((0.5 - 1.645 * 0.01581, 0.5 + 1.645 * 0.01581), abs=1e-4)


def test_validation_images_from_elsewhere_are_heard_as_far_as_they_are_certain() -> None:
    known = replace(evidence(), curve=None, judged=(Judged(0.4, 0.01), Judged(0.6, 0.1), *evidence().judged[2:]))
    first, second, *_ = frozen(known)
    assert first.accuracy == pytest.approx(0.45)  # both are equally sure
    assert 0.69 < second.accuracy < 0.7
    deaf = {**KNOWN, "frozen": {"probed": 0.02, "judged": 10.0}}
    assert frozen(known, deaf)[0].accuracy == pytest.approx(0.5, abs=1e-3)


def test_more_images_are_expected_to_help_as_the_curve_says() -> None:
    known = evidence(images=400)
    for index, strategy in enumerate(every(known)[:4]):
        now, later = (expect(strategy, known, [], KNOWN, times) for times in (1.0, 4.0))
        assert now.accuracy > known.frozen[index].accuracy  # which was trained on four fifths
        assert later.accuracy > now.accuracy
        assert later.deviation > now.deviation


def gain_of(kind: str, known: Evidence, trials: list[Trial]) -> float:
    base = best_frozen(known, KNOWN).accuracy
    return gained(kind, base, known, trials, KNOWN)[0]


def test_a_trials_gain_is_expected_again_as_far_as_it_is_certain() -> None:
    known = evidence(images=1000)
    assert gain_of("lp_ft", known, []) == pytest.approx(0.0)
    assert gain_of("lp_ft", known, [trial("lp_ft", 0.1, 1e-6)]) == pytest.approx(0.1)
    doubtful = gain_of("lp_ft", known, [trial("lp_ft", 0.1, 0.2)])
    assert 0.0 < doubtful < 0.01
    short = {**KNOWN, "lp_ft": {**KNOWN["lp_ft"], "apart": 0.1}}
    base = best_frozen(known, KNOWN).accuracy
    gains = [gained("lp_ft", base, known, [trial("lp_ft", 0.1, 1e-6, share)], short)[0] for share in (0.01, 0.1, 1.0)]
    assert gains == sorted(gains)
    assert gains[0] < 0.005


def test_what_starts_from_pretrained_weights_learns_from_a_trial_that_does() -> None:
    known = evidence()
    tried = [trial("lp_ft", 0.1, 1e-6)]
    assert gain_of("full", known, tried) == pytest.approx(0.1)
    assert gain_of("full", known, [*tried, trial("full", -0.1, 1e-6)]) == pytest.approx(-0.1)
    assert gain_of("scratch", known, tried) == gain_of("scratch", known, [])


def test_a_whole_network_has_to_be_worth_its_cost() -> None:
    known = evidence([0.5, 0.7, 0.8], 0.79)
    others = [trial(kind, -0.1, 1e-6) for kind in WHOLE[1:]]
    little, much = (
        decide(every(known), known, [trial("lp_ft", gain, 1e-6), *others], KNOWN)[0] for gain in (INDIFFERENT / 2, 0.1)
    )
    assert little.advised.place == "all layers kept"
    assert little.runner_up is not None
    assert little.runner_up.case != little.advised.case
    assert much.advised.kind == "lp_ft"
    assert much.runner_up is not None
    assert much.runner_up.case == "small_similar"


def test_more_images_may_change_the_case_and_only_by_more_than_nothing() -> None:
    known = evidence(images=500)
    far = {**KNOWN, "full": {"weights": [0.0, 0.6, 0.0], "deviation": 0.1, "apart": 0.1}}
    verdict, _ = decide(every(known), known, [], far)
    assert verdict.advised.case == "small_similar"
    assert verdict.overtaken == (3, "large_similar")
    never = {**KNOWN, **{kind: {"weights": [-0.5, 0.0, 0.0], "deviation": 0.1, "apart": 0.1} for kind in WHOLE}}
    assert decide(every(known), known, [], never)[0].overtaken is None


@given(st.lists(SHARES, min_size=1, max_size=5), st.integers(20, 10**6), st.floats(0, 1), st.floats(-0.5, 0.5))
def test_expectations_are_shares_and_advice_is_never_far_from_the_best(
    accuracies: list[float], images: int, worth: float, gain: float
) -> None:
    known = evidence(accuracies, accuracies[0] if accuracies[1:] else None, [0.05], images, worth)
    verdict, expected = decide(every(known), known, [trial("lp_ft", gain, 0.05)], experience())
    assert all(0 <= low <= one.accuracy <= high <= 1 for one in expected for low, high in [one.interval])
    order = every(known)
    assert order.index(verdict.advised) < len(order)
    chosen = expected[order.index(verdict.advised)]
    assert chosen.accuracy >= max(one.accuracy for one in expected) - INDIFFERENT


def test_nothing_is_gained_where_there_are_no_errors() -> None:
    known = evidence([1.0])
    assert gained("lp_ft", 1.0, known, [trial("lp_ft", 0.3, 0.01)], KNOWN) == (0.0, 0.0)


def test_experience_says_where_it_is_from_and_is_of_every_kind() -> None:
    known = experience()
    for kind in WHOLE:
        assert len(known[kind]["weights"]) == len(terms(evidence()))
        assert known[kind]["deviation"] > 0
        assert known[kind]["apart"] > 0
    assert known["frozen"]["probed"] > 0
    assert known["made_by"] == "python -m tests.benchmarks.advice.fit"
