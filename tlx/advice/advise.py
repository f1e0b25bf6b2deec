"""Advise: from evidence, trials and costs to a verdict, and what files and people are told of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tlx.advice.cost import Cost, Timing, cost_of, time_steps
from tlx.advice.evidence import STEPS, Evidence, Progress, columns, gather
from tlx.advice.expected import Expected, Experience, experience
from tlx.advice.outlook import TIMES, Verdict, decide, expect
from tlx.advice.strategy import WHOLE, Strategy, strategies
from tlx.advice.trial import Extent, Trial, Trials, extent
from tlx.advice.whole import worth_of_trial
from tlx.config.cases import Auto, Plain
from tlx.config.groups import AutoCut, BankFeatures
from tlx.config.roots import TrainConfig
from tlx.data.source import Source
from tlx.interruption import Interruption
from tlx.learner.trainer import make_trainer
from tlx.results.clock import Clock
from tlx.results.decisions import Decisions
from tlx.results.result import data_name
from tlx.training.banks import Banks
from tlx.training.survey import Survey, look

FORMAT = 1
SMALL = 1000  # training images; of more, trials get a SHARE of a whole training
SECONDS, SHARE = 50.0, 0.22
SURE = 0.99  # a head that is right so often leaves nothing that a trial could show
WORTH = 0.001  # accuracy that trials have to be expected to bring, by what they may show
NO_BETTER = 0.02  # a random trunk's probes that come so near the pretrained ones' let training from scratch be tried


@dataclass(frozen=True)
class Advice:
    """What was found out about some images and a backbone, and what it says: ``expected`` and ``costs`` a strategy.

    ``untried``: why no whole network was tried; empty where one was. ``survey``: the sample, read at every depth.
    """

    strategies: list[Strategy]
    evidence: Evidence
    timing: Timing
    trials: list[Trial]
    untried: str
    expected: list[Expected]
    costs: list[Cost]
    verdict: Verdict
    seconds: float
    survey: Survey

    def plain(self, auto: Auto) -> dict[str, Any]:
        """Return what ``advice.json`` holds."""
        config = auto.cases[self.verdict.advised.case]
        twice = expect(self.strategies, self.evidence, self.trials, experience(), TIMES[0])
        told = [self._row(index, auto, twice[index]) for index in range(len(self.strategies))]
        advised = next(row for row in told if row["advised"])
        second = next((row for row in told if row["name"] == self._name(self.verdict.runner_up)), None)
        over = self.verdict.overtaken
        return {
            "format": FORMAT,
            "backbone": config.backbone.name,
            "data": data_name(config),
            "evidence": self.evidence.plain(),
            "trials": [trial.plain() for trial in self.trials],
            "untried": self.untried,
            "timing": asdict(self.timing),
            "strategies": told,
            "verdict": {
                **{key: advised[key] for key in ("name", "case", "words", "expected", "epochs", "lr", "cost")},
                "command": self.command(auto),
                "runner_up": second and {key: second[key] for key in ("name", "case", "words", "expected", "cost")},
                "overtaken": over and {"times": over[0], "case": over[1]},
            },
            "backbones": [],
            "seconds": self.seconds,
        }

    def command(self, auto: Auto) -> str:
        """Spell the training that is advised."""
        words = [word for word in auto.words if not word.startswith("trainer.max_epochs=")]
        if self.verdict.advised.case == "large_different":
            words = [word for word in words if not word.startswith("init")]
        return f"python -m tlx {shlex.join([*self.verdict.advised.words, *words])}"

    def chosen(self, auto: Auto) -> tuple[TrainConfig, Plain]:
        """Return the config of the training that is advised, typed and plain; the survey's features serve it."""
        advised = self.verdict.advised
        typed, plain = advised.settings(auto), advised.plain(auto)
        sampled = len(self.survey.source.train.labels) < self.evidence.images
        deep = advised.case == "small_similar" or advised.kind == "lp_ft"  # what computes all depths in any case
        if sampled and deep and isinstance(typed.features, BankFeatures):
            typed = replace(typed, features=replace(typed.features, depths="all"))
            plain = {**plain, "features": {**plain["features"], "depths": "all"}}
        return typed, plain

    def _row(self, index: int, auto: Auto, twice: Expected) -> dict[str, Any]:
        strategy, expected = self.strategies[index], self.expected[index]
        settings = strategy.settings(auto)
        low, high = expected.interval
        return {
            "name": strategy.name,
            "kind": strategy.kind,
            "case": strategy.case,
            "words": strategy.words,
            "epochs": strategy.epochs,
            "lr": settings.optimizer.lr if strategy.kind in WHOLE else None,
            "expected": {"accuracy": expected.accuracy, "low": low, "high": high, "twice": twice.accuracy},
            "cost": asdict(self.costs[index]),
            "advised": strategy == self.verdict.advised,
        }

    @staticmethod
    def _name(strategy: Strategy | None) -> str | None:
        return strategy.name if strategy else None


def advise(
    auto: Auto,
    source: Source,
    folder: Path,
    clock: Clock,
    interruption: Interruption,
    progress: Progress,
    tries: bool = True,
) -> Advice:
    """Find out which strategy suits some images and a backbone; trials leave nothing in ``folder``.

    ``tries``: whether whole networks are tried.

    Raises:
        InputError: Too few images; whatever is wrong with the backbone or its weights.
    """
    started = time.monotonic()
    config = auto.cases["small_similar"]
    reader = looker(config, source, clock)
    evidence, survey = gather(config, source, reader, progress)
    every = strategies([row.place for row in evidence.profile.rows], evidence.images, auto)
    whole = [strategy for strategy in every if strategy.kind in WHOLE]
    progress(STEPS - 1, STEPS, "timing a step of the whole network")
    timing = time_steps(whole[0], auto, source)
    batch = config.data.batch_size
    costs = [cost_of(strategy, evidence, timing, source, batch) for strategy in every]
    full = next(cost for strategy, cost in zip(every, costs, strict=True) if strategy.kind == "full")
    most = SECONDS if evidence.images <= SMALL else SHARE * full.seconds
    left = most - (time.monotonic() - started)
    tried, untried = candidates(evidence, whole) if tries else ([], "trials=false")
    trials: list[Trial] = []
    if tried:
        assert survey.val is not None
        best = columns(survey, evidence.profile)
        features = survey.features[:, best], survey.val[:, best]
        strength = evidence.best.strength
        where = Trials(auto, survey.source, evidence.images, *features, strength, folder, clock, interruption, progress)
        trials, untried = _tried(where, tried, timing, left, evidence)
    verdict, expected = decide(every, evidence, trials, experience())
    return Advice(
        every, evidence, timing, trials, untried, expected, costs, verdict, time.monotonic() - started, survey
    )  # fmt: skip


def looker(config: TrainConfig, source: Source, clock: Clock) -> Callable[..., Survey]:
    """Return what reads a sample of the training images at every depth of a config's backbone."""
    decisions = Decisions(None)
    trainer = make_trainer(config.trainer)
    quiet = replace(config.callbacks, progress=False)

    def reading(asked: TrainConfig, images: int, priced: bool = True, val: int = 0) -> Survey:
        asked = replace(asked, callbacks=quiet)
        return look(asked, source, AutoCut(images=images), trainer, clock, Banks(asked, decisions), priced, val)

    return reading


def candidates(evidence: Evidence, whole: Sequence[Strategy]) -> tuple[list[Strategy], str]:
    """Choose which whole networks are worth a trial, in their order; say why none is."""
    right = evidence.best.accuracy
    if right >= SURE:
        return [], f"a head on the frozen trunk is right about {100 * right:.1f} % already"
    if not worth_trying(evidence, experience()):
        return [], f"on {evidence.images:,} images they would tell less than what is known of other data sets"
    no_better = evidence.similarity.random > evidence.similarity.pretrained - NO_BETTER
    kinds = ["lp_ft", *(["scratch"] if no_better else []), "full"]
    return sorted((s for s in whole if s.kind in kinds), key=lambda s: kinds.index(s.kind)), ""


def worth_trying(evidence: Evidence, known: Experience, share: float = 1.0) -> bool:
    """Whether trials, all rounds of them, are expected to change the verdict for the better by anything to speak of."""
    judged = evidence.profile.images + evidence.judges
    return any(worth_of_trial(kind, evidence, known, judged, share) >= WORTH for kind in WHOLE if kind != "scratch")


def _tried(
    where: Trials, tried: Sequence[Strategy], timing: Timing, seconds: float, evidence: Evidence
) -> tuple[list[Trial], str]:
    """Try what there is time for, where that tells anything."""
    sampled, judges = (len(images.labels) for images in (where.source.train, where.source.val))

    def extent_of(strategy: Strategy, mine: float) -> Extent | None:
        how = extent(sampled, judges, strategy.epochs or 1, timing, mine)
        return how if how and worth_trying(evidence, experience(), where.share(strategy, how)) else None

    trials = where.race(tried, extent_of, seconds)
    if trials:
        return trials, ""
    return [], f"{max(seconds, 0):.0f} s are left for a trial, which is too little"
