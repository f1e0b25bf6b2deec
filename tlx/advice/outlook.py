"""Outlook: the test accuracy to be expected of each strategy, with its interval, and which one is advised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlx.advice.evidence import Evidence
from tlx.advice.expected import Expected, Experience
from tlx.advice.frozen import Prospect
from tlx.advice.strategy import Strategy, row_of
from tlx.advice.trial import Trial
from tlx.advice.whole import INDIFFERENT, expect_whole

TIMES = (2, 3, 5, 10)  # as many images, of which is asked what they would change


@dataclass(frozen=True)
class Verdict:
    """The strategy that is advised, the best of another case, and by how many times the images another case wins."""

    advised: Strategy
    runner_up: Strategy | None
    overtaken: tuple[int, str] | None


def expect(
    strategies: Sequence[Strategy],
    evidence: Evidence,
    trials: Sequence[Trial],
    known: Experience,
    times: float = 1.0,
) -> list[Expected]:
    """Return what to expect of each strategy with so many times the images."""
    prospect, rows = Prospect(evidence, known, times), evidence.frozen
    return [
        prospect.frozen[rows.index(row_of(strategy, rows))]
        if strategy.kind == "frozen"
        else expect_whole(strategy.kind, prospect, trials)
        for strategy in strategies
    ]


def decide(
    strategies: Sequence[Strategy], evidence: Evidence, trials: Sequence[Trial], known: Experience
) -> tuple[Verdict, list[Expected]]:
    """Advise the best, but no whole network that is hardly better than a frozen trunk."""
    expected = expect(strategies, evidence, trials, known)
    advised = strategies[_cheapest(strategies, expected)]
    others = [index for index, strategy in enumerate(strategies) if strategy.case != advised.case]
    second = max(others, key=lambda index: expected[index].accuracy, default=None)
    overtaken = _overtaken(advised, strategies, evidence, trials, known)
    return Verdict(advised, None if second is None else strategies[second], overtaken), expected


def _cheapest(strategies: Sequence[Strategy], expected: Sequence[Expected]) -> int:
    """Find the best frozen trunk, unless a whole network is worth its cost; passes cost much the same at any cut."""
    order = sorted(range(len(strategies)), key=lambda index: -expected[index].accuracy)
    best = order[0]
    frozen = next(index for index in order if strategies[index].kind == "frozen")
    near = expected[frozen].accuracy >= expected[best].accuracy - INDIFFERENT
    return frozen if near else best


def _overtaken(
    advised: Strategy,
    strategies: Sequence[Strategy],
    evidence: Evidence,
    trials: Sequence[Trial],
    known: Experience,
) -> tuple[int, str] | None:
    for times in TIMES:
        expected = expect(strategies, evidence, trials, known, times)
        later = _cheapest(strategies, expected)
        ahead = expected[later].accuracy - expected[list(strategies).index(advised)].accuracy
        if strategies[later].case != advised.case and ahead > INDIFFERENT:
            return times, strategies[later].case
    return None
