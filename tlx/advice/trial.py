"""Trials: whole networks trained for a short while on a part of the training images, and a race between them.

They are judged by training images that were held out and by validation images, which may be from elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlx.advice.cost import Timing
from tlx.advice.strategy import Strategy
from tlx.config.cases import Auto
from tlx.config.groups import BankFeatures, CsvLogger
from tlx.data.source import Source, choose
from tlx.features.learning_curve import nested
from tlx.features.probe import cross_validate, deal
from tlx.interruption import Interruption
from tlx.learner.trainer import make_trainer
from tlx.results.clock import Clock
from tlx.results.decisions import Decisions
from tlx.results.run_folder import RunFolder
from tlx.secrecy import hidden
from tlx.training.banks import Banks
from tlx.training.phases import train_phases
from tlx.training.work import Work, assemble

log = logging.getLogger("tlx")

FOLDS = 4  # a round holds out one of so many parts; where time allows, so many rounds hold out each in turn
FEWEST = 2  # epochs: with fewer images rather than fewer epochs
START, EPOCH = 1.0, 0.15  # seconds that a trial, and an epoch of it, take beside their steps
IMAGES = 24  # a trial of fewer would say nothing


@dataclass(frozen=True)
class Trial:
    """Short trainings of a whole network beside the best frozen trunk's head, on the same images.

    ``gain``: by how much more of the ``judged`` images it is right about, and the standard error of that (paired).
    ``folds``: how many trainings, each with another part held out. ``share``: images seen by one, of those that the
    whole training would see.
    """

    kind: str
    trained: int
    judged: int
    epochs: int
    folds: int
    share: float
    accuracy: float
    gain: float
    standard_error: float
    seconds: float

    def plain(self) -> dict[str, Any]:
        """Return what ``advice.json`` tells of it."""
        return asdict(self)


@dataclass(frozen=True)
class Extent:
    """How much of a training a round does: on so many images, for so many epochs."""

    images: int
    epochs: int


def extent(sampled: int, judges: int, epochs: int, timing: Timing, seconds: float) -> Extent | None:
    """Say what a round on ``sampled`` images does in so many seconds; None where that is too little.

    ``judges``: validation images; ``epochs``: those of the whole training.
    """
    held = sampled // FOLDS
    rest = sampled - held
    judging = held * (timing.read + timing.forward)
    once = START + judges * (timing.read + timing.forward)

    def takes(images: int, rounds: int) -> float:
        return once + rounds * (EPOCH + images * (timing.drawn + timing.step) + judging) + images * timing.forward

    most = [e for e in range(FEWEST, epochs + 1) if takes(rest, e) <= seconds]
    if most:
        return Extent(rest, max(most))
    spare = (seconds - once - FEWEST * (EPOCH + judging)) / (FEWEST * (timing.drawn + timing.step) + timing.forward)
    images = min(rest, int(spare))
    return Extent(images, min(FEWEST, epochs)) if images >= IMAGES else None


@dataclass(frozen=True)
class Round:
    """One of a trial's trainings: whether the whole network, and the frozen trunk's head, are right (N, 2), 0 or 1.

    ``held``: of training images held out; ``val``: of validation images, the same in every round.
    """

    held: np.ndarray
    val: np.ndarray
    seconds: float

    @property
    def gain(self) -> float:
        """By how much more of the images the whole network is right about."""
        whole, frozen = np.concatenate([self.held, self.val]).mean(0)
        return float(whole - frozen)


@dataclass(frozen=True)
class Trials:
    """Where trials are made: sampled images and the features that the best frozen trunk has of them, in a folder.

    ``source``: whose training and validation images are the samples; ``images``: of how many training images.
    ``features``: of the training images, ``val`` of the validation images; ``strength``: of the probe on them.
    """

    auto: Auto
    source: Source
    images: int
    features: np.ndarray
    val: np.ndarray
    strength: float
    folder: Path
    clock: Clock
    interruption: Interruption
    progress: Callable[[int, int, str], None] = lambda done, count, what: None

    def race(
        self, strategies: Sequence[Strategy], extent_of: Callable[[Strategy, float], Extent | None], seconds: float
    ) -> list[Trial]:
        """Try each strategy once, on the same images; then the one that gains most again, while there is time.

        ``extent_of``: how far a round of a strategy goes in so many seconds; what gets too few is left out. Where a
        share of the time is too little for the first, it gets all of it.
        """
        began = time.monotonic()
        rounds: dict[str, list[Round]] = {}
        extents: dict[str, Extent] = {}
        for index, strategy in enumerate(strategies):
            left = seconds - (time.monotonic() - began)
            how = extent_of(strategy, left / (len(strategies) - index))
            if how is None and index == 0:
                how = extent_of(strategy, left)
            if how is not None:
                extents[strategy.kind] = how
                rounds[strategy.kind] = [self.round(strategy, how, 0)]
        if rounds:
            tried = [s for s in strategies if s.kind in rounds]
            leader = max(tried, key=lambda s: rounds[s.kind][0].gain)
            mine = rounds[leader.kind]
            while len(mine) < FOLDS and time.monotonic() - began + mine[-1].seconds < seconds:
                mine.append(self.round(leader, extents[leader.kind], len(mine)))
        return [self._trial(s, extents[s.kind], rounds[s.kind]) for s in strategies if s.kind in rounds]

    def round(self, strategy: Strategy, how: Extent, index: int) -> Round:
        """Train a strategy's network as far as ``how`` says, without part ``index`` of the images, and judge it."""
        started = time.monotonic()
        self.progress(index, FOLDS, f"trial: {strategy.name}")
        labels = self.source.train.labels
        seed = strategy.settings(self.auto).seed
        fold = deal(labels, FOLDS, 1, seed)[:, 0]
        held = np.flatnonzero(fold == index)
        rest = np.flatnonzero(fold != index)
        rest = rest[nested(labels[rest], index, seed)[: how.images]]
        mine, other = self._trained(strategy, how.epochs, rest, held), self._probed(rest, held)
        right = np.stack([mine, other], 1).astype(float)
        return Round(right[: len(held)], right[len(held) :], time.monotonic() - started)

    def share(self, strategy: Strategy, how: Extent) -> float:
        """Return the share of the images seen by a strategy's whole training that a round sees."""
        return min(1.0, how.images * how.epochs / (self.images * (strategy.epochs or how.epochs)))

    def _trial(self, strategy: Strategy, how: Extent, rounds: Sequence[Round]) -> Trial:
        """Put rounds together: a validation image counts once, by what it is on average."""
        val = np.mean([one.val for one in rounds], axis=0)
        right = np.concatenate([*(one.held for one in rounds), val])
        better, count = right[:, 0] - right[:, 1], len(right)
        return Trial(
            kind=strategy.kind,
            trained=how.images,
            judged=count,
            epochs=how.epochs,
            folds=len(rounds),
            share=self.share(strategy, how),
            accuracy=float(right[:, 0].mean()),
            gain=float(better.mean()),
            standard_error=max(float(better.std()), 0.5 / np.sqrt(count)) / np.sqrt(count),
            seconds=sum(one.seconds for one in rounds),
        )

    def _trained(self, strategy: Strategy, epochs: int, rest: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Train on some images; say which of those held out are right, and which validation images."""
        short = replace(strategy, epochs=epochs)
        config = short.settings(self.auto)
        features = config.features
        if isinstance(features, BankFeatures):  # whose rows the survey has computed
            config = replace(config, features=replace(features, depths="all", profile_up_to=0, views=0))
        quiet = replace(config.callbacks, progress=False)
        one = replace(config.trainer, devices=1, strategy="auto", num_nodes=1, compile=False)
        on_processor = make_trainer(one).strategy.root_device.type == "cpu"
        near = replace(config.data, workers=0) if on_processor else config.data
        config = replace(config, callbacks=quiet, trainer=one, data=near, logger=CsvLogger(), report=False)
        part = replace(
            self.source,
            train=choose(self.source.train, rest),
            val=choose(self.source.train, held),
            test=self.source.val,
        )
        with _quiet(), self._home() as folder:
            run = RunFolder.create(folder, hidden(short.plain(self.auto)))
            decisions = Decisions(None)
            network, preprocessing, _ = assemble(config, part)
            work = Work(
                config, part, preprocessing, run, self.clock, self.interruption, decisions, False,
                Banks(config, decisions),
            )  # fmt: skip
            logits = train_phases(work, network).logits
        judged = (logits["val"], part.val.labels), (logits["test"], part.test.labels)
        return np.concatenate([np.asarray(found.argmax(1).numpy() == labels) for found, labels in judged])

    def _probed(self, rest: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Train the best frozen trunk's head on the same images; say the same of it."""
        features = np.concatenate([self.features[rest], self.features[held], self.val])
        labels = self.source.train.labels
        labels = np.concatenate([labels[rest], labels[held], self.source.val.labels])
        fold = np.full((len(labels), 1), -1)
        fold[len(rest) :] = 0
        _, known = np.unique(labels, return_inverse=True)
        return cross_validate(features, known, fold, self.strength).correct[len(rest) :, 0]

    @contextlib.contextmanager
    def _home(self) -> Iterator[Path]:
        """Give a folder for one training, and remove it: what comes of a trial is a number."""
        folder = self.folder / ".trial"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let a training say nothing of itself; what it would have said goes to the log."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        yield
    log.info("a trial said:\n%s", said.getvalue())
