"""Reading: how a phase gets the features that its head is solved on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tlx.config.groups import BankFeatures
from tlx.data.module import ImageModule
from tlx.features.bank import Bank, Reader
from tlx.network.network import Network
from tlx.training.survey import Survey, opened
from tlx.training.work import Work

CHUNK = 8192  # rows that are handed from one bank to another at once


@dataclass
class Reading:
    """Reads a network's features; where a pass at every depth has computed them, or is asked to, they come from there.

    Args:
        survey: The same backbone at every depth, its weights as they are in ``network``.
    """

    work: Work
    network: Network
    images: ImageModule
    survey: Survey | None = None
    reader: Reader = field(init=False)
    deep: Reader | None = field(init=False, default=None)  # at every depth
    columns: slice | None = field(init=False, default=None)  # where in those rows the network's own are

    def __post_init__(self) -> None:
        config, banks = self.work.config, self.work.banks
        assert isinstance(config.features, BankFeatures)
        self.reader = banks.reader(self.network, self.images)
        everywhere = config.features.depths == "all"
        if self.survey is None and not everywhere:
            return
        known = self.survey.opened if self.survey else opened(config, banks)
        self.columns = known.columns(self.network)
        if everywhere:
            self.deep = banks.reader(known.depths, self.images)
        elif self.columns is not None and self.survey and self.survey.source.train is self.work.source.train:
            self.reader.adopt("train", 0, self.survey.features[:, self.columns])

    def read(self, split: str, views: int = 0) -> Bank:
        """Return a split's features: of its images, or of so many drawn views of each."""
        if self.deep is not None and self.columns is not None and not self.reader.knows(split, views):
            rows = self.deep.bank(split, views).features
            for start in range(0, len(rows), CHUNK):
                self.reader.adopt(split, views, np.asarray(rows[start : start + CHUNK])[:, self.columns], start)
        return self.reader.bank(split, views)
