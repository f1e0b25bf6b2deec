"""Trials: whole networks trained for a short while on a part of the training images, judged on others of them."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import time
from collections.abc import Callable, Iterator
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

FOLDS = 4  # a trial holds out one of so many parts; where time allows, so many trials hold out each in turn
FEWEST = 2  # epochs: with fewer images rather than fewer epochs
START, EPOCH = 1.0, 0.15  # seconds that a trial, and an epoch of it, take beside their steps
IMAGES = 24  # a trial of fewer would say nothing


@dataclass(frozen=True)
class Trial:
    """A short training of a whole network beside the best frozen trunk's head, on the same images.

    ``gain``: by how much more of the ``judged`` images it is right about, and the standard error of that (paired).
    ``share``: images seen, of those that the whole training would see.
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
    """How much of a training a trial does: on so many images, for so many epochs, so many times."""

    images: int
    epochs: int
    folds: int


def extent(sampled: int, whole: int, epochs: int, timing: Timing, seconds: float) -> Extent | None:
    """Say what a trial on ``sampled`` images of ``whole`` does in so many seconds; None where that is too little.

    ``epochs``: those of the whole training.
    """
    held = sampled // FOLDS
    rest = sampled - held
    judging = held * (timing.read + timing.forward)

    def takes(images: int, rounds: int) -> float:
        return START + rounds * (EPOCH + images * (timing.read + timing.step) + judging) + images * timing.forward

    most = [e for e in range(FEWEST, epochs + 1) if takes(rest, e) <= seconds]
    if most:
        folds = int(min(FOLDS, max(1, seconds // takes(rest, max(most)))))
        return Extent(rest, max(most), folds)
    spare = (seconds - START - FEWEST * (EPOCH + judging)) / (FEWEST * (timing.read + timing.step) + timing.forward)
    images = min(rest, int(spare))
    return Extent(images, min(FEWEST, epochs), 1) if images >= IMAGES else None


@dataclass(frozen=True)
class Trials:
    """Where trials are made: the sampled training images and the features of the best frozen trunk, in a folder.

    ``source``: whose training images are the sample; ``images``: of how many it is one.
    """

    auto: Auto
    source: Source
    images: int
    features: np.ndarray
    folder: Path
    clock: Clock
    interruption: Interruption
    progress: Callable[[int, int, str], None] = lambda done, count, what: None

    def run(self, strategy: Strategy, how: Extent, seconds: float = float("inf")) -> Trial:
        """Train a strategy's network as far as a trial goes, and judge it; no validation or test image is touched.

        Once is done in any case; again only what fits into so many seconds, by what it took before.
        """
        started = time.monotonic()
        seed = strategy.settings(self.auto).seed
        labels = self.source.train.labels
        fold = deal(labels, FOLDS, 1, seed)[:, 0]
        right, frozen = [], []
        for index in range(how.folds):
            if index and (time.monotonic() - started) * (index + 1) / index > seconds:
                break
            self.progress(index, how.folds, f"trial: {strategy.name}")
            held = np.flatnonzero(fold == index)
            rest = np.flatnonzero(fold != index)
            rest = rest[nested(labels[rest], index, seed)[: how.images]]
            right.append(self._trained(strategy, how.epochs, rest, held))
            frozen.append(self._probed(rest, held))
        mine, other = np.concatenate(right).astype(float), np.concatenate(frozen).astype(float)
        better = mine - other
        return Trial(
            kind=strategy.kind,
            trained=how.images,
            judged=len(mine),
            epochs=how.epochs,
            folds=len(right),
            share=min(1.0, how.images * how.epochs / (self.images * (strategy.epochs or how.epochs))),
            accuracy=float(mine.mean()),
            gain=float(better.mean()),
            standard_error=max(float(better.std()), 0.5 / np.sqrt(len(mine))) / np.sqrt(len(mine)),
            seconds=time.monotonic() - started,
        )

    def _trained(self, strategy: Strategy, epochs: int, rest: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Train on some images; say which of the others are right."""
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
            test=choose(self.source.train, held),
        )
        with _quiet(), self._home() as folder:
            run = RunFolder.create(folder, hidden(short.plain(self.auto)))
            decisions = Decisions(None)
            network, preprocessing, _ = assemble(config, part)
            work = Work(
                config, part, preprocessing, run, self.clock, self.interruption, decisions, False,
                Banks(config, decisions),
            )  # fmt: skip
            logits = train_phases(work, network).logits["val"]
        return np.asarray(logits.argmax(1).numpy() == part.val.labels)

    def _probed(self, rest: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Train the best frozen trunk's head on the same images; say which of the others are right."""
        chosen = np.concatenate([rest, held])
        fold = np.full((len(chosen), 1), -1)
        fold[len(rest) :] = 0
        labels = self.source.train.labels[chosen]
        _, known = np.unique(labels, return_inverse=True)
        return cross_validate(self.features[chosen], known, fold).correct[len(rest) :, 0]

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
