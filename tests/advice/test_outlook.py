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
    DISAGREE,
    INDIFFERENT,
    WHOLE,
    Expected,
    best_frozen,
    decide,
    expect,
    experience,
    gained,
    scatter,
    shift,
    terms,
    weigh,
    worth_of_trial,
)
from tlx.advice.trial import Trial

SHARES = st.floats(0.05, 1.0)


def frozen(known: Evidence, experience: dict[str, Any] = KNOWN) -> list[Expected]:
    return [expect(s, known, [], experience) for s in every(known) if s.kind == "frozen"]


def test_a_frozen_trunk_is_expected_to_do_what_its_probes_do() -> None:
    known = replace(evidence(images=10**4), curve=None)
    expected = frozen(known)
    assert [e.accuracy for e in expected] == pytest.approx([0.5, 0.7, 0.8, 0.79])
    deviation = np.hypot(0.01 / np.sqrt(2), 0.01)
    assert expected[0].deviation == pytest.approx(deviation, rel=0.02)
    low, high = expected[0].interval
    assert (low, high) == pytest.approx((0.5 - 1.645 * deviation, 0.5 + 1.645 * deviation), abs=1e-3)


def test_where_nearly_all_is_right_less_can_be_amiss() -> None:
    known = replace(evidence([0.5, 0.99], 0.9), curve=None)
    half, nearly, _ = frozen(known)
    assert scatter(0.5) == 1.0
    assert scatter(0.99) == pytest.approx(0.2, abs=0.01)
    assert nearly.deviation < 0.6 * half.deviation
    assert nearly.deviation > 0.01 / np.sqrt(2)  # which stems from the images that it was judged by


def test_the_best_of_several_was_lucky_by_a_part_of_its_error() -> None:
    known = replace(evidence(images=10**4), curve=None)
    lucky = {**KNOWN, "frozen": {**KNOWN["frozen"], "less": 1.5}}
    (one, *_), (other, *_) = frozen(known), frozen(known, lucky)
    assert one.accuracy - other.accuracy == pytest.approx(1.5 * 0.01 / np.sqrt(2), rel=1e-3)
    assert one.deviation == pytest.approx(other.deviation, rel=1e-3)


def test_all_of_a_few_images_are_no_certainty() -> None:
    judged = tuple(Judged(1.0, 0.5) for _ in range(3))  # which say next to nothing
    few, many = (
        frozen(replace(evidence([0.5, 1.0], 1.0, images=images), curve=None, judged=judged))[1] for images in (34, 3400)
    )
    assert few.deviation > 0.025  # one of 36 may be wrong, give or take one
    assert many.deviation < 0.012


def test_whole_networks_gain_less_where_the_deepest_features_lie_behind() -> None:
    behind, ahead = evidence([0.5, 0.8, 0.6], 0.7), evidence([0.5, 0.6, 0.8], 0.7)
    assert terms(behind)[2] == pytest.approx(0.2 / 0.4)
    assert terms(ahead)[2] == 0
    assert terms(ahead, 10)[1] == pytest.approx(terms(ahead)[1] + 1)
    held = {**KNOWN, "lp_ft": {"weights": [0.0, 0.0, -0.3], "deviation": 0.2, "apart": 0.1}}
    assert gained("lp_ft", 0.8, behind, [], held)[0] == pytest.approx(-0.3 * 0.5 * 0.2)
    assert gained("lp_ft", 0.8, ahead, [], held)[0] == 0


def test_few_test_images_may_be_right_more_or_less_often() -> None:
    many, few = (frozen(replace(evidence(tests=tests), curve=None))[0].deviation for tests in (10**9, 100))
    assert few == pytest.approx(np.hypot(many, 0.05), rel=1e-3)  # half of a hundred, give or take five


def test_validation_images_from_elsewhere_are_heard_as_far_as_they_are_certain() -> None:
    known = replace(
        evidence(images=10**4), curve=None, judged=(Judged(0.49, 0.01), Judged(0.6, 0.1), *evidence().judged[2:])
    )
    first, second, *_ = frozen(known)
    assert first.accuracy == pytest.approx(0.495, abs=1e-3)  # both are equally sure
    assert 0.68 < second.accuracy < 0.7


def test_validation_images_that_disagree_are_from_elsewhere_and_heard_alone() -> None:
    apart = KNOWN["frozen"]
    told = [[(Judged(0.8, 0.01), Judged(0.8 - less, 0.01))] * 3 for less in (0.0, 0.04, 0.2)]
    moved = [shift(one, apart["row"]) for one in told]
    assert moved[0].accuracy == 0.0
    assert -0.02 < moved[1].accuracy < 0.0
    assert moved[2].accuracy == pytest.approx(-0.2, abs=0.02)
    assert moved[2].accuracy > -0.2  # and no further than was seen
    found = [weigh(*one[0], how, apart) for one, how in zip(told, moved, strict=True)]
    assert [0.8 - one.accuracy for one in found] == pytest.approx([0.0, 0.02, 0.2], abs=0.01)
    assert found[0].deviation < found[1].deviation < found[2].deviation  # which has less to go by


def test_a_shift_moves_all_depths_and_leaves_their_order_to_both() -> None:
    judged = tuple(Judged(row.accuracy - 0.25 + error, 0.02) for row, error in zip(
        evidence().frozen, (0.01, 0.0, -0.01, 0.0), strict=True
    ))  # fmt: skip
    expected = frozen(replace(evidence(), curve=None, judged=judged))
    assert [one.accuracy for one in expected] == pytest.approx([0.25, 0.45, 0.55, 0.54], abs=0.02)


@given(SHARES, SHARES, st.floats(0, 0.5), st.floats(0.001, 0.5))
def test_what_is_weighed_lies_between_what_was_said(one: float, other: float, error: float, second: float) -> None:
    told = Judged(one, error), Judged(other, second)
    moved = shift([told], KNOWN["frozen"]["row"])
    found = weigh(*told, moved, KNOWN["frozen"])
    assert abs(moved.accuracy) <= abs(one - other) + 1e-9
    assert min(one, other) - 1e-9 <= found.accuracy <= max(one, other) + 1e-9
    assert 0 < found.deviation < 1


def test_a_trial_is_worth_what_it_may_change() -> None:
    known = evidence(images=400)
    many, few = (worth_of_trial("lp_ft", known, KNOWN, judged) for judged in (10_000, 20))
    assert many > few > 0
    apart = {**KNOWN, "lp_ft": {**KNOWN["lp_ft"], "apart": 0.2}}
    long, short = (worth_of_trial("lp_ft", known, apart, 10_000, share) for share in (1.0, 0.01))
    assert many > long > short
    sure = {**KNOWN, "lp_ft": {**KNOWN["lp_ft"], "deviation": 0.001}}
    assert worth_of_trial("lp_ft", known, sure, 10_000) < 1e-6  # which nothing could change
    assert worth_of_trial("lp_ft", known, {**KNOWN, "lp_ft": {**KNOWN["lp_ft"], "deviation": 0.0}}, 100) == 0
    assert worth_of_trial("lp_ft", evidence([0.98], images=40), KNOWN, 60) < 0.0005  # hardly anything is left to gain


@pytest.mark.parametrize("lead", [0.05, -0.05])
def test_the_worth_of_a_trial_is_what_simulated_ones_bring(lead: float) -> None:
    known, judged = evidence(images=1000), 150
    experience = {**KNOWN, "lp_ft": {"weights": [lead, 0.0, 0.0], "deviation": 0.3, "apart": 0.0}}
    base = best_frozen(known, experience).accuracy
    prior, spread = gained("lp_ft", base, known, [], experience)
    error = np.sqrt(DISAGREE * (1 - base) / judged)
    rng = np.random.default_rng(0)
    gains = rng.normal(prior, spread, 200_000)
    seen = gains + rng.normal(0, error, gains.shape)
    then = (prior / spread**2 + seen / error**2) / (1 / spread**2 + 1 / error**2)
    brought = np.where(then > INDIFFERENT, gains - INDIFFERENT, 0.0).mean() - max(prior - INDIFFERENT, 0.0)
    assert worth_of_trial("lp_ft", known, experience, judged) == pytest.approx(brought, rel=0.03)


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
    assert set(known["frozen"]) == {"row", "less", "level"}
    assert known["frozen"]["row"] > 0
    assert known["frozen"]["level"] > 0
    assert known["made_by"] == "python -m tests.benchmarks.advice.fit"
