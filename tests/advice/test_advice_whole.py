"""What is expected of whole networks, and what a trial of one is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.advice.facts import KNOWN, evidence, trial
from tlx.advice.evidence import Evidence, Judged
from tlx.advice.expected import Expected, Experience, scatter
from tlx.advice.frozen import Prospect
from tlx.advice.trial import Trial
from tlx.advice.whole import DISAGREE, INDIFFERENT, ahead, expect_whole, gained, start, terms, worth_of_trial


def base_of(known: Evidence, experience: Experience = KNOWN) -> float:
    return Prospect(known, experience).best.accuracy


def gain_in(kind: str, known: Evidence, trials: list[Trial], experience: Experience = KNOWN) -> Expected:
    return gained(kind, Prospect(known, experience), trials)


def gain_of(kind: str, known: Evidence, trials: list[Trial], experience: Experience = KNOWN) -> float:
    return gain_in(kind, known, trials, experience).accuracy


def start_of(kind: str, known: Evidence, experience: Experience = KNOWN, times: float = 1.0) -> float:
    return start(kind, Prospect(known, experience, times))


def whole_of(kind: str, known: Evidence, experience: Experience = KNOWN, times: float = 1.0) -> Expected:
    return expect_whole(kind, Prospect(known, experience, times), [])


def held(
    kind: str, share: float, growth: float, ahead: float = 0.0, deviation: float = 0.2, apart: float = 0.0
) -> Experience:
    weights = [share, growth] if kind == "scratch" else [share, growth, ahead]
    return {**KNOWN, kind: {"weights": weights, "deviation": deviation, "apart": apart}}


def test_a_whole_network_gains_beside_the_deepest_features_which_it_starts_from() -> None:
    behind, ahead = evidence([0.5, 0.8, 0.6], 0.7, images=1000), evidence([0.5, 0.6, 0.8], 0.7, images=1000)
    tenth = held("lp_ft", 0.1, 0.0)
    begun = start_of("lp_ft", behind)
    assert begun == pytest.approx(Prospect(behind, KNOWN).frozen[2].accuracy) != base_of(behind)
    assert whole_of("lp_ft", behind, tenth).accuracy == pytest.approx(begun + 0.1 * (1 - begun))
    assert gain_of("lp_ft", behind, [], tenth) < 0 < gain_of("lp_ft", ahead, [], tenth)
    assert gain_of("lp_ft", ahead, [], tenth) == pytest.approx(0.1 * (1 - base_of(ahead)))


def test_a_start_is_discounted_as_every_frozen_trunk_is() -> None:
    known = evidence([0.5, 0.7, 0.8], images=1000)
    lucky = {**KNOWN, "frozen": {**KNOWN["frozen"], "less": 1.5}}
    for experience in (KNOWN, lucky):  # else one that is as good would look better for not being chosen
        assert start_of("full", known, experience) == base_of(known, experience)
    assert start_of("full", known, lucky) < start_of("full", known)


def test_random_weights_start_from_the_probe_on_them() -> None:
    known = evidence(random=(0.4, 0.45, 0.4), images=1000)
    assert start_of("scratch", known) == pytest.approx(0.45, abs=1e-3)
    more = whole_of("scratch", known, held("scratch", 0.2, 0.0))
    assert more.accuracy == pytest.approx(0.45 * 1.2, abs=2e-3)


def test_images_from_elsewhere_are_harder_for_random_weights_too() -> None:
    known = evidence(random=(0.4, 0.45, 0.4), images=1000)
    harder = tuple(Judged(row.accuracy - 0.2, 0.01) for row in known.frozen)
    alike, elsewhere = (start_of("scratch", replace(known, judged=one)) for one in (known.judged, harder))
    assert alike == pytest.approx(0.45, abs=1e-3)
    assert elsewhere == pytest.approx(0.25, abs=0.01)


def test_what_shallower_depths_are_ahead_by_a_whole_network_can_win_back() -> None:
    behind, level = evidence([0.5, 0.8, 0.6], 0.7, images=1000), evidence([0.5, 0.6, 0.6], 0.7, images=1000)
    assert ahead(Prospect(behind, KNOWN)) == pytest.approx(0.2, abs=0.01)
    assert ahead(Prospect(level, KNOWN)) == pytest.approx(0.0, abs=0.01)
    alone = evidence([0.5], None)
    assert ahead(Prospect(alone, KNOWN)) == 0
    half = held("full", 0.0, 0.0, 0.1)
    begun = start_of("full", behind)
    assert whole_of("full", behind, half).accuracy == pytest.approx(begun + 0.1, abs=0.006)  # half of it
    assert whole_of("full", level, half).accuracy == pytest.approx(start_of("full", level), abs=0.006)


def test_gains_grow_with_images_by_their_logarithm() -> None:
    few, many = (terms("full", 0.8, images, 0.0) for images in (100, 10_000))
    assert few == pytest.approx([0.2, -0.2, 0.0])
    assert many == pytest.approx([0.2, 0.2, 0.0])
    known = evidence(images=1000)
    growing = held("full", 0.0, 0.3)
    now, later = (whole_of("full", known, growing, times) for times in (1.0, 10.0))
    begun = start_of("full", known, times=10.0)
    assert later.accuracy == pytest.approx(begun + 0.3 * (1 - begun))
    assert later.accuracy > now.accuracy


def test_gains_are_as_uncertain_as_accuracies_there() -> None:
    known = evidence(images=1000)
    found = gain_in("lp_ft", known, [], held("lp_ft", 0.0, 0.0, deviation=0.2))
    assert found.deviation == pytest.approx(0.2 * scatter(start_of("lp_ft", known)))


def test_a_trials_gain_is_expected_again_as_far_as_it_is_certain() -> None:
    known = evidence(images=1000)
    assert gain_of("lp_ft", known, []) == pytest.approx(0.0)
    assert gain_of("lp_ft", known, [trial("lp_ft", 0.1, 1e-6)]) == pytest.approx(0.1)
    doubtful = gain_of("lp_ft", known, [trial("lp_ft", 0.1, 0.6)])
    assert 0.0 < doubtful < 0.01
    short = held("lp_ft", 0.0, 0.1, apart=0.1)
    gains = [gain_of("lp_ft", known, [trial("lp_ft", 0.1, 1e-6, share)], short) for share in (0.001, 0.1, 1.0)]
    assert gains == sorted(gains)
    assert gains[0] < 0.005


def test_what_starts_from_pretrained_weights_learns_from_a_trial_that_does() -> None:
    known = evidence()
    tried = [trial("lp_ft", 0.1, 1e-6)]
    assert gain_of("full", known, tried) == pytest.approx(0.1)
    assert gain_of("full", known, [*tried, trial("full", -0.1, 1e-6)]) == pytest.approx(-0.1)
    assert gain_of("scratch", known, tried) == gain_of("scratch", known, [])


def test_nothing_is_gained_where_nothing_is_uncertain_and_no_trial_says_otherwise() -> None:
    sure = held("lp_ft", 0.0, 0.0, deviation=0.0)
    known = evidence([1.0])
    found = gain_in("lp_ft", known, [trial("lp_ft", 0.3, 0.01)], sure)
    assert found == Expected(0.0, 0.0)


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
    usual = held("lp_ft", 0.0, 0.0, deviation=0.03)
    assert worth_of_trial("lp_ft", known, usual, 60) > 0.001
    assert worth_of_trial("lp_ft", evidence([0.98], None, images=40), usual, 60) < 0.0005  # hardly anything is left


@pytest.mark.parametrize("lead", [0.05, -0.05])
def test_the_worth_of_a_trial_is_what_simulated_ones_bring(lead: float) -> None:
    known, judged = evidence(images=1000), 150
    experience = held("lp_ft", lead, 0.0, deviation=0.3)
    base = base_of(known, experience)
    prior = gain_in("lp_ft", known, [], experience)
    error = np.sqrt(DISAGREE * (1 - base) / judged)
    rng = np.random.default_rng(0)
    gains = rng.normal(prior.accuracy, prior.deviation, 200_000)
    seen = gains + rng.normal(0, error, gains.shape)
    trust = 1 / prior.deviation**2, 1 / error**2
    then = (prior.accuracy * trust[0] + seen * trust[1]) / sum(trust)
    sooner = max(prior.accuracy - INDIFFERENT, 0.0)
    brought = np.where(then > INDIFFERENT, gains - INDIFFERENT, 0.0).mean() - sooner
    assert worth_of_trial("lp_ft", known, experience, judged) == pytest.approx(brought, rel=0.03)
