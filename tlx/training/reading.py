"""Reading: how a phase gets the features that its head is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlx.config.groups import BankFeatures
from tlx.data.module import ImageModule
from tlx.features.bank import Bank, Reader
from tlx.network.network import Network
from tlx.results.console import console, say
from tlx.training.survey import Columns, Survey, opened
from tlx.training.work import Work


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
    columns: Columns | None = field(init=False, default=None)  # where in those rows the network's own are

    def __post_init__(self) -> None:
        config, banks = self.work.config, self.work.banks
        assert isinstance(config.features, BankFeatures)
        self.reader = banks.reader(self.network, self.images)
        everywhere = config.features.depths == "all"
        if self.survey is None and not everywhere:
            return
        known = self.survey.opened if self.survey else opened(config, banks)
        if everywhere:
            self.deep = banks.reader(known.depths, self.images)  # which lays the depths out as the network is
        self.columns = known.columns(self.network)
        if everywhere and self.columns is None and self.work.decisions.writes:
            say(console(), "features", "this cut and pooling are none of the depths: they have a pass of their own")

    def read(self, split: str, views: int = 0) -> Bank:
        """Return a split's features: of its images, or of so many drawn views of them."""
        if self.columns is not None and not self.reader.knows(split, views):
            known, mine = None, self.columns
            if self.deep is not None:
                known = self.deep.bank(split, views).features
            elif self.survey and (split, views) == ("train", 0) and self._surveyed:
                known = self.survey.features
            if known is not None:
                self.reader.adopt(split, views, known, mine.part, mine.scale)
        return self.reader.bank(split, views)

    @property
    def _surveyed(self) -> bool:
        """Whether the survey has looked at these very images."""
        return self.survey is not None and self.survey.source.train is self.work.source.train
