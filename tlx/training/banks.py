"""Banks: a run's way to the feature bank, and what it found there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from tlx.config.groups import BankFeatures
from tlx.config.roots import TrainConfig
from tlx.data.module import ImageModule
from tlx.data.source import SPLITS, Source
from tlx.features import room
from tlx.features.bank import Reader
from tlx.learner.progress import ProgressBar
from tlx.learner.trainer import make_trainer, meet
from tlx.learner.trial import Pace
from tlx.network.depths import Depths
from tlx.network.memory_format import lay_out
from tlx.network.network import Network
from tlx.results.console import console
from tlx.results.decisions import Decisions
from tlx.training.pace import inference_pace

GIGABYTE = 1e9


@dataclass
class Banks:
    """Opens readers for a run's networks; ``features=off`` keeps nothing beyond what a reader holds in memory."""

    config: TrainConfig
    decisions: Decisions
    readers: list[Reader] = field(default_factory=list)

    @property
    def features(self) -> BankFeatures:
        """How features are kept."""
        return self.config.features if isinstance(self.config.features, BankFeatures) else BankFeatures()

    @property
    def root(self) -> Path | None:
        """The folder of all banks."""
        return Path(self.features.dir).expanduser() if self.features.dir else None

    def reader(self, network: Network | Depths, images: ImageModule) -> Reader:
        """Open the bank of a network's trunk, or of a backbone read at several depths, at the pace of its pass."""
        settings = self.config.trainer
        trainer = make_trainer(settings)
        pace = self.pace(network, images.source, trainer)
        lay_out(network if isinstance(network, Depths) else network.trunk, pace.memory_format)
        if pace.precision != settings.precision:
            trainer = make_trainer(replace(settings, precision=pace.precision))
        if self.config.callbacks.progress:
            trainer.callbacks.append(ProgressBar(console()))  # type: ignore[attr-defined]
        self.readers.append(Reader(network, images, trainer, self.root))
        return self.readers[-1]

    def pace(self, network: Network | Depths, source: Source, trainer: pl.Trainer) -> Pace:
        """Settle the pace of a pass over a source's images, with all processes, which have met by then."""
        meet(trainer)
        count = sum(len(source.split(split).labels) for split in SPLITS)
        return inference_pace("features", self.config, network, count, trainer, self.decisions)

    @property
    def troubles(self) -> list[str]:
        """Say why features could not be kept."""
        return list(dict.fromkeys(r.store.trouble for r in self.readers if r.store.trouble))

    def tidy(self) -> dict[str, Any] | None:
        """Keep the folder within its limit; return what ``result.json`` tells of it, None where it was not used.

        ``found`` and ``computed`` count rows (an image at a cut, or a view of it), ``bytes`` what all banks take.
        """
        if not self.readers or not isinstance(self.config.features, BankFeatures):
            return None
        found, computed = sum(r.found for r in self.readers), sum(r.computed for r in self.readers)
        told = {"found": found, "computed": computed, "damaged": sum(r.store.damaged for r in self.readers)}
        root, limit = self.root, self.features.max_gb
        if root is None:
            return {**told, "dir": None, "bytes": 0, "max_gb": None}
        room.tidy(root, limit * GIGABYTE, {reader.store.folder for reader in self.readers})
        return {**told, "dir": str(root), "bytes": room.taken(root), "max_gb": limit}
