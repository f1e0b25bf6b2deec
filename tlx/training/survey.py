"""Survey: the depth profile of a run's backbone on its training images, and the cuts that are settled by looking."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from tlx.config.groups import AllCut, AutoCut, MemoryFeatures, PretrainedInit, RaceInit, ScratchInit
from tlx.config.roots import TrainConfig
from tlx.data.source import Source
from tlx.data.splits import sample
from tlx.errors import InputError
from tlx.features.bank import Bank, compute
from tlx.features.profile import Place, Profile, cut_of, index_of, places, probe_depths
from tlx.learner.plan import plan
from tlx.learner.progress import ProgressBar
from tlx.network.cost import multiply_adds
from tlx.network.cut import Point
from tlx.network.depths import Depths
from tlx.network.inference import Embedder, predict
from tlx.network.network import Network
from tlx.network.reach import open_depths, reached
from tlx.network.trace import evaluating
from tlx.results import profile as shown
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.decisions import Decisions
from tlx.training.work import Work, head_alone, image_module

log = logging.getLogger("tlx")


@dataclass(frozen=True)
class Survey:
    """The depths of a backbone, each with its features (N, D) of some training images, all from one pass."""

    depths: Depths
    found: list[tuple[Place, np.ndarray]]
    source: Source  # its training images are those that were looked at

    def bank(self, network: Network, source: Source) -> Bank | None:
        """Return what ``network`` reads of the training images of ``source``, where this pass has read the same.

        That is so where its cut is one of the depths and all images were looked at; and, as is proven on an image,
        where network and survey agree to the last bit.
        """
        index = index_of(_place(network), [place for place, _ in self.found])
        if index is None or self.source.train is not source.train:
            return None
        features = self.found[index][1]
        size = network.trunk.image_size
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), evaluating(network), evaluating(self.depths):
            same = torch.equal(network.embed(image), self.depths.parts(image)[index])
        return Bank(features, source.train.labels) if same else None


def settle_cut(
    config: TrainConfig, source: Source, trainer: pl.Trainer, decisions: Decisions, clock: Clock
) -> tuple[TrainConfig, Survey | None]:
    """Put a concrete cut where the config asks for ``auto``, or for ``all`` as far as the weights reach.

    What ``auto`` finds is kept as a decision, which a resumed run takes over. Returns what was looked at as well.

    Raises:
        InputError: Too few images to choose by; whatever is wrong with the backbone or its weights.
    """
    told = trainer.is_global_zero
    if isinstance(config.cut, AllCut) and config.cut.until is None:
        points = reached(config.backbone, _start(config), config.data.image_size)
        if told and points and points[-1].kind != "head":
            say(console(), "weights", f"end behind {points[-1].name}; what lies behind it is cut away")
        deepest = [point for point in points if point.kind != "head"][-1:]
        until = [point.name if point.stage is None else point.stage for point in deepest]
        return replace(config, cut=AllCut(until=until[0] if until else None)), None
    if not isinstance(config.cut, AutoCut):
        return config, None
    auto = config.cut
    surveys: list[Survey] = []

    def find() -> dict[str, Any]:
        surveys.append(look(config, source, auto, trainer, clock))
        with clock.phase("profile"):
            profile = _probed(surveys[0], auto, config.seed)
        return replace(profile, cut=profile.auto).plain()

    profile = Profile.read(decisions.take("profile", find))
    place, last = profile.rows[profile.auto].place, profile.rows[-1].place
    if told:
        shown.show(console(), profile.plain())
        if not last.head:
            say(console(), "weights", f"end behind {last.name}; no deeper cut is possible")
        before = "" if surveys else ", as decided before"
        say(console(), "cut", f"auto takes {shown.place(asdict(place))}{before}")
    return replace(config, cut=cut_of(place)), surveys[0] if surveys else None


def side_profile(work: Work, network: Network) -> tuple[dict[str, Any] | None, Survey | None]:
    """Return a run's depth profile as plain data: the one that its cut was chosen by, or one beside a frozen case.

    None where there is nothing to compare, or nobody asked. Nothing else of the run depends on it. Returns what was
    looked at as well, where that was now.
    """
    if "profile" in work.decisions.taken:
        return work.decisions.taken["profile"], None
    config, features = work.config, work.config.features
    frozen = not network.head.pool.learned and all(head_alone(network, phase) for phase in plan(config))
    few = isinstance(features, MemoryFeatures) and len(work.source.train.labels) <= features.profile_up_to
    if not frozen or not few:
        return None, None
    trainer = work.trainer()
    surveys: list[Survey] = []

    def find() -> dict[str, Any] | None:
        try:
            surveys.append(look(config, work.source, AutoCut(), trainer, work.clock))
            profile = _compared(surveys[0], work, network, trainer)
        except InputError as error:  # which a run without a profile would not meet
            log.info("no depth profile: %s", error)
            return None
        return profile.plain() if len(profile.rows) > 1 else None

    return work.decisions.take("profile", find), surveys[0] if surveys else None


def look(config: TrainConfig, source: Source, auto: AutoCut, trainer: pl.Trainer, clock: Clock) -> Survey:
    """Read training images, at most ``auto.images`` of them, at every depth that the weights reach, in one pass.

    Raises:
        InputError: Too few images; whatever is wrong with the backbone or its weights.
    """
    with clock.phase("profile"):
        depths, costs, preprocessing = open_depths(config.backbone, _start(config), config.seed, config.data.image_size)
        chosen = replace(source, train=sample(source.train, auto.images, config.seed))
        loader = image_module(config, chosen, preprocessing, trainer).plain_loader("train")
        if config.callbacks.progress:
            trainer.callbacks.append(ProgressBar(console()))  # type: ignore[attr-defined]
        features = predict(trainer, Embedder(depths), loader).numpy()
    return Survey(depths, places(depths.points, depths.widths, costs, features), chosen)


def _compared(survey: Survey, work: Work, network: Network, trainer: pl.Trainer) -> Profile:
    """Profile the depths, and the run's own cut with them."""
    with work.clock.phase("profile"):
        own, features = _place(network), None
        if index_of(own, [place for place, _ in survey.found]) is None:
            points = set(network.trunk.points) if isinstance(network.trunk, Depths) else set()
            columns = [part for p, part in survey.found if Point(p.kind, p.name, p.stage) in points]
            if columns and len(columns) == len(points):
                features = np.hstack(columns)  # all depths at once: they are known already
            else:
                images = image_module(work.config, survey.source, work.preprocessing, trainer)
                features = compute(network, images, trainer, "train").features
        return _probed(survey, AutoCut(), work.config.seed, own, features)


def _probed(
    survey: Survey, auto: AutoCut, seed: int, own: Place | None = None, features: np.ndarray | None = None
) -> Profile:
    return probe_depths(survey.found, survey.source.train.labels, auto, seed, own, features)


def _place(network: Network) -> Place:
    trunk = network.trunk
    point, size = trunk.point, sum(p.numel() for p in trunk.parameters())
    name = f"all up to {point.name}" if point.kind == "all" else point.name
    cost = multiply_adds(trunk, trunk.image_size)
    return Place(point.kind, name, point.stage, trunk.width, size, cost, head=point.kind == "head")


def _start(config: TrainConfig) -> PretrainedInit | ScratchInit:
    return config.init.pretrained() if isinstance(config.init, RaceInit) else config.init
