"""What is expected of heads on frozen trunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import KNOWN, evidence
from tlx.advice.evidence import Judged
from tlx.advice.expected import scatter
from tlx.advice.frozen import Prospect, Shift, shift, weigh

SHARES = st.floats(0.05, 1.0)


def test_a_frozen_trunk_is_expected_to_do_what_its_probes_do() -> None:
    known = replace(evidence(images=10**4), curve=None)
    expected = Prospect(known, KNOWN).frozen
    assert [e.accuracy for e in expected] == pytest.approx([0.5, 0.7, 0.8, 0.79])
    deviation = np.hypot(0.01 / np.sqrt(2), 0.01)
    assert expected[0].deviation == pytest.approx(deviation, rel=0.02)
    low, high = expected[0].interval
    assert (low, high) == pytest.approx((0.5 - 1.645 * deviation, 0.5 + 1.645 * deviation), abs=1e-3)


def test_where_nearly_all_is_right_a_depth_lies_less_far_from_what_is_told_of_it() -> None:
    assert scatter(0.5) == 1.0
    assert scatter(0.99) == pytest.approx(0.2, abs=0.01)
    sure, doubtful = 0.001, 0.02
    shares = []
    for share in (0.5, 0.98):
        pair = Judged(share, sure), Judged(share + 0.01, doubtful)
        found = weigh(*pair, Shift(0.0, 0.0, 0.0), {"row": 0.02, "less": 0.0, "level": 0.0})
        shares.append((found.accuracy - share) / 0.01)
    assert 0 < shares[1] < 0.8 * shares[0] < 0.5  # else the surer one is heard no more than the other


def test_the_best_of_several_was_lucky_by_a_part_of_its_error() -> None:
    known = replace(evidence(images=10**4), curve=None)
    lucky = {**KNOWN, "frozen": {**KNOWN["frozen"], "less": 1.5}}
    (one, *_), (other, *_) = Prospect(known, KNOWN).frozen, Prospect(known, lucky).frozen
    assert one.accuracy - other.accuracy == pytest.approx(1.5 * 0.01 / np.sqrt(2), rel=1e-3)
    assert one.deviation == pytest.approx(other.deviation, rel=1e-3)


def test_few_test_images_may_be_right_more_or_less_often() -> None:
    many, few = (
        Prospect(replace(evidence(tests=tests), curve=None), KNOWN).frozen[0].deviation for tests in (10**9, 100)
    )
    assert few == pytest.approx(np.hypot(many, 0.05), rel=1e-3)  # half of a hundred, give or take five


def test_validation_images_from_elsewhere_are_heard_as_far_as_they_are_certain() -> None:
    known = replace(
        evidence(images=10**4), curve=None, judged=(Judged(0.49, 0.01), Judged(0.6, 0.1), *evidence().judged[2:])
    )
    first, second, *_ = Prospect(known, KNOWN).frozen
    assert first.accuracy == pytest.approx(0.495, abs=1e-3)  # both are equally sure
    assert 0.68 < second.accuracy < 0.7


def test_validation_images_that_disagree_are_from_elsewhere_and_heard_alone() -> None:
    apart = KNOWN["frozen"]
    told = [[(Judged(0.8, 0.01), Judged(0.8 - less, 0.01))] * 3 for less in (0.0, 0.04, 0.2)]
    moved = [shift(one, apart["row"]) for one in told]
    assert moved[0].odds < moved[1].odds < 0.5 < 0.99 < moved[2].odds
    assert moved[0].harder == 0.0
    assert -0.2 < moved[2].harder < -0.18  # and no further than was seen
    found = [weigh(*one[0], how, apart) for one, how in zip(told, moved, strict=True)]
    assert [0.8 - one.accuracy for one in found] == pytest.approx([0.0, 0.02, 0.2], abs=0.01)
    assert found[0].deviation < found[2].deviation  # which has less to go by


def test_the_luck_of_an_image_is_counted_once() -> None:
    """Where validation images are from elsewhere, what is expected is as far off as it says."""
    rng, apart = np.random.default_rng(0), {"row": 0.001, "less": 0.0, "level": 0.0}
    off, said = [], []
    for _ in range(400):
        truth, error, other = 0.8 + rng.choice([-0.2, 0.15]), 0.015, 0.025  # images 20 points harder, or 15 easier
        pair = Judged(0.8 + error * rng.normal(), error), Judged(truth + other * rng.normal(), other)
        moved = shift([pair], apart["row"])
        found = weigh(*pair, moved, apart)
        off.append(found.accuracy - truth)
        said.append(found.deviation)
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(np.mean(said), rel=0.12)
    twice = np.hypot(np.mean(said), np.hypot(0.015, 0.025))  # both errors once more, as those of the shift
    assert twice > 1.3 * np.sqrt(np.mean(np.square(off)))


def test_a_shift_moves_all_depths_and_leaves_their_order_to_both() -> None:
    judged = tuple(Judged(row.accuracy - 0.25 + error, 0.02) for row, error in zip(
        evidence().frozen, (0.01, 0.0, -0.01, 0.0), strict=True
    ))  # fmt: skip
    expected = Prospect(replace(evidence(), curve=None, judged=judged), KNOWN).frozen
    assert [one.accuracy for one in expected] == pytest.approx([0.25, 0.45, 0.55, 0.54], abs=0.02)


@given(SHARES, SHARES, st.floats(0, 0.5), st.floats(0.001, 0.5))
def test_what_is_weighed_lies_between_what_was_said(one: float, other: float, error: float, second: float) -> None:
    told = Judged(one, error), Judged(other, second)
    moved = shift([told], KNOWN["frozen"]["row"])
    found = weigh(*told, moved, KNOWN["frozen"])
    assert abs(moved.harder) <= abs(one - other) + 1e-9
    assert min(one, other) - 1e-9 <= found.accuracy <= max(one, other) + 1e-9
    assert 0 < found.deviation < 1


def test_more_images_are_expected_to_help_as_the_curve_says() -> None:
    known = evidence(images=400)
    sooner, later = (Prospect(known, KNOWN, times).frozen for times in (1.0, 4.0))
    for row, now, then in zip(known.frozen, sooner, later, strict=True):
        assert now.accuracy > row.accuracy  # which was trained on four fifths
        assert then.accuracy > now.accuracy
        assert then.deviation > now.deviation
