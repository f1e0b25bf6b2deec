"""Strategies: everything that advice chooses between, each a case with its cut, freeze policy and epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from tlx.config.cases import Auto, Plain
from tlx.config.groups import AllCut, HeadCut, LayerCut, LpFtFreeze, PhaseSettings, StageCut
from tlx.config.roots import TrainConfig
from tlx.features.profile import Place, Row, cut_of

SEEN = 12_000  # images that the training of a whole network sees, all epochs together
EPOCHS = 3, 30  # the fewest and the most of such a training
WHOLE = ("lp_ft", "full", "scratch")  # strategies that train the whole network

Concrete = HeadCut | StageCut | LayerCut | AllCut


@dataclass(frozen=True)
class Strategy:
    """One way to train: ``kind`` is ``frozen`` or one of ``WHOLE``; ``epochs`` are those of the whole network."""

    kind: str
    case: str
    cut: Concrete
    place: str  # where it cuts, in words
    epochs: int | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        told = {"lp_ft": "probe, then whole network", "full": "whole network", "scratch": "whole network, random start"}
        return told.get(self.kind, f"head alone, {self.place}")

    @property
    def words(self) -> list[str]:
        """Return what asks for it on a command line."""
        words = [f"case={self.case}", *_cut_words(self.cut, self.case)]
        if self.kind == "lp_ft":
            return [*words, "freeze=lp_ft", f"freeze.finetune.epochs={self.epochs}"]
        return [*words, f"trainer.max_epochs={self.epochs}"] if self.epochs else words

    def settings(self, auto: Auto) -> TrainConfig:
        """Return the config of a training by it."""
        config = replace(auto.cases[self.case], cut=self.cut)
        if self.kind == "lp_ft":
            return replace(config, freeze=LpFtFreeze(finetune=PhaseSettings(epochs=self.epochs)))
        if self.epochs:
            return replace(config, trainer=replace(config.trainer, max_epochs=self.epochs))
        return config

    def plain(self, auto: Auto) -> Plain:
        """Return the same as a run's ``config.json`` keeps it."""
        typed, plain = self.settings(auto), dict(auto.plain[self.case])
        plain["cut"], plain["freeze"] = asdict(typed.cut), asdict(typed.freeze)
        plain["trainer"] = {**plain["trainer"], "max_epochs": typed.trainer.max_epochs}
        return plain


def strategies(depths: list[Place], images: int, auto: Auto) -> list[Strategy]:
    """List what can be done with so many training images and a backbone that is read at ``depths``, the cheapest first.

    The trunk is frozen at each of them and at all together; whole networks end at the deepest.
    """
    last = depths[-1]
    deepest = HeadCut() if last.head else cut_of(last)
    frozen = [Strategy("frozen", "small_different", cut_of(place), named(place)) for place in depths[:-1]]
    frozen.append(Strategy("frozen", "small_similar", deepest, named(last)))
    if len(depths) > 1:
        frozen.append(Strategy("frozen", "small_similar", AllCut(), "all depths together"))
    whole = []
    for kind in WHOLE:
        case = "large_different" if kind == "scratch" else "large_similar"
        epochs = auto.cases[case].trainer.max_epochs if auto.epochs_given else epochs_for(images)
        whole.append(Strategy(kind, case, deepest, named(last), epochs))
    return frozen + whole


def row_of(strategy: Strategy, rows: Sequence[Row]) -> Row:
    """Return the probe of a frozen strategy: the row of its cut."""
    cut = strategy.cut
    for row in rows:
        place = row.place
        if isinstance(cut, StageCut) and place.kind == "stage" and place.stage == cut.stage:
            return row
        if isinstance(cut, LayerCut) and place.kind == "layer" and place.name == cut.name:
            return row
        if (isinstance(cut, HeadCut) and place.head) or (isinstance(cut, AllCut) and place.kind == "all"):
            return row
    raise KeyError(strategy.name)


def epochs_for(images: int) -> int:
    """Return for how many epochs a whole network is trained on so many images."""
    return max(EPOCHS[0], min(EPOCHS[1], SEEN // max(images, 1)))


def named(place: Place) -> str:
    """Name a depth within a sentence."""
    if place.head:
        return "all layers kept"
    return f"up to stage {place.stage} ({place.name})" if place.kind == "stage" else f"up to {place.name}"


def _cut_words(cut: Concrete, case: str) -> list[str]:
    if isinstance(cut, HeadCut):
        return ["cut=head"] if case == "small_different" else []
    if isinstance(cut, StageCut):
        return ["cut=stage", f"cut.stage={cut.stage}"]
    if isinstance(cut, LayerCut):
        return ["cut=layer", f"cut.name={cut.name}"]
    return ["cut=all"]  # which goes as far as the weights reach
