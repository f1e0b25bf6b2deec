"""The outlook: what is expected of every strategy, and what is advised."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import KNOWN, every, evidence, trial
from tlx.advice.expected import experience
from tlx.advice.frozen import Prospect
from tlx.advice.outlook import decide, expect
from tlx.advice.strategy import WHOLE
from tlx.advice.whole import INDIFFERENT, expect_whole, terms

SHARES = st.floats(0.05, 1.0)


def test_every_strategy_is_expected_what_its_kind_is() -> None:
    known = evidence()
    prospect = Prospect(known, KNOWN)
    strategies = every(known)
    for strategy, one in zip(strategies, expect(strategies, known, [], KNOWN), strict=True):
        if strategy.kind != "frozen":
            assert one == expect_whole(strategy.kind, prospect, [])
    heads = [one for s, one in zip(strategies, expect(strategies, known, [], KNOWN), strict=True) if s.kind == "frozen"]
    assert sorted(heads, key=lambda one: one.accuracy) == sorted(prospect.frozen, key=lambda one: one.accuracy)


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
    worse = [-0.5, 0.0, 0.0]
    never = {
        **KNOWN,
        **{kind: {"weights": worse[: len(KNOWN[kind]["weights"])], "deviation": 0.1, "apart": 0.1} for kind in WHOLE},
    }
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


def test_experience_says_where_it_is_from_and_is_of_every_kind() -> None:
    known = experience()
    for kind in WHOLE:
        assert len(known[kind]["weights"]) == len(terms(kind, 0.5, 100, 0.1))
        assert known[kind]["deviation"] > 0
        assert known[kind]["apart"] > 0
    assert set(known["frozen"]) == {"row", "less", "level"}
    assert known["frozen"]["row"] > 0
    assert known["frozen"]["level"] > 0
    assert known["made_by"] == "python -m tests.benchmarks.advice.fit"
