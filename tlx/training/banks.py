"""Banks: a run's way to the feature bank, and what it found there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from tlx.config.groups import BankFeatures, NoFeatures
from tlx.data.module import ImageModule
from tlx.features import room
from tlx.features.bank import Reader
from tlx.network.depths import Depths
from tlx.network.network import Network

GIGABYTE = 1e9


@dataclass
class Banks:
    """Opens readers for a run's networks; ``features=off`` keeps nothing beyond what a reader holds in memory."""

    config: BankFeatures | NoFeatures
    readers: list[Reader] = field(default_factory=list)

    def reader(self, network: Network | Depths, images: ImageModule, trainer: pl.Trainer) -> Reader:
        """Open the bank of a network's trunk, or of a backbone read at several depths."""
        config = self.config if isinstance(self.config, BankFeatures) else BankFeatures()
        self.readers.append(Reader(network, images, trainer, config))
        return self.readers[-1]

    @property
    def troubles(self) -> list[str]:
        """Say why features could not be kept."""
        return list(dict.fromkeys(r.store.trouble for r in self.readers if r.store.trouble))

    def tidy(self) -> dict[str, Any] | None:
        """Keep the folder within its limit; return what ``result.json`` tells of it, None where it was not used.

        ``found`` and ``computed`` count rows (an image at a cut, or a view of it), ``bytes`` what all banks take.
        """
        if not self.readers or not isinstance(self.config, BankFeatures):
            return None
        found, computed = sum(r.found - r.adopted for r in self.readers), sum(r.computed for r in self.readers)
        told = {"found": found, "computed": computed, "damaged": sum(r.store.damaged for r in self.readers)}
        if self.config.dir is None:
            return {**told, "dir": None, "bytes": 0, "max_gb": None}
        root, limit = Path(self.config.dir).expanduser(), self.config.max_gb
        room.tidy(root, limit * GIGABYTE, {reader.store.folder for reader in self.readers})
        return {**told, "dir": str(root), "bytes": room.taken(root), "max_gb": limit}
