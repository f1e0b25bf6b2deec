"""Survey: the depth profile of a run's backbone on its training images, and the cuts that are settled by looking."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from tlx.config.groups import AllCut, AutoCut, BankFeatures, PretrainedInit, RaceInit, ScratchInit
from tlx.config.roots import TrainConfig
from tlx.data.source import Source, fingerprint
from tlx.data.splits import sample
from tlx.errors import InputError
from tlx.features.profile import Place, Profile, cut_of, index_of, places, probe_depths
from tlx.learner.plan import plan
from tlx.learner.trial import Pace
from tlx.network.cost import by_point, multiply_adds
from tlx.network.cut import Point
from tlx.network.depths import Depths
from tlx.network.network import Network
from tlx.network.reach import open_depths, reached
from tlx.network.trace import evaluating
from tlx.one_thread import one_thread
from tlx.preprocessing import Preprocessing
from tlx.results import profile as shown
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.decisions import Decisions
from tlx.results.result import versions
from tlx.training.banks import Banks
from tlx.training.remembered import Remembered
from tlx.training.work import Work, head_alone, image_module

log = logging.getLogger("tlx")


@dataclass(frozen=True)
class Columns:
    """Which columns of all depths' features a network's own are, and what they are multiplied by; None: by nothing."""

    part: slice | np.ndarray
    scale: np.ndarray | None = None


@dataclass(frozen=True)
class Opened:
    """A backbone read at every depth that its weights reach, and where in the features of all (N, D) each is found."""

    depths: Depths
    places: list[tuple[Place, slice]]

    def columns(self, network: Network) -> Columns | None:
        """Return which columns are the features of ``network``; None where none are.

        They are where its cut is one of the depths, or all of them, and both agree on an image to the last bit.
        """
        trunk, known = network.trunk, self.depths.points
        size = trunk.image_size
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        with one_thread(), torch.no_grad(), evaluating(network), evaluating(self.depths):
            parts, own = self.depths.parts(image), network.embed(image)
        if isinstance(trunk, Depths) and set(trunk.points) <= set(known):
            ends = np.cumsum([0, *self.depths.widths])
            read = [known.index(point) for point in trunk.points]
            scale = torch.cat([trunk.scale[i].expand(parts[k].shape[1]) for i, k in enumerate(read)])
            columns = np.concatenate([np.arange(ends[k], ends[k + 1]) for k in read])
            same = torch.equal(own, torch.cat([parts[k] for k in read], 1) * scale)
            return Columns(columns, scale.numpy()) if same else None
        index = index_of(_place(network), [place for place, _ in self.places])
        if index is None or not torch.equal(own, parts[index]):
            return None
        return Columns(self.places[index][1])


@dataclass(frozen=True)
class Survey:
    """What a backbone makes of some training images at every depth: features (N, D) from one pass."""

    opened: Opened
    features: np.ndarray
    source: Source  # its training images are those that were looked at
    val: np.ndarray | None = None  # the same of its validation images, where anybody asked for them

    @property
    def found(self) -> list[tuple[Place, np.ndarray]]:
        """Each depth with its features."""
        return [(place, self.features[:, columns]) for place, columns in self.opened.places]


def settle_cut(
    config: TrainConfig, source: Source, trainer: pl.Trainer, decisions: Decisions, clock: Clock, banks: Banks
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
        surveys.append(look(config, source, auto, trainer, clock, banks))
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


def side_profile(work: Work, network: Network, weights: Path | None) -> tuple[dict[str, Any] | None, Survey | None]:
    """Return a run's depth profile as plain data: the one that its cut was chosen by, or one beside a frozen case.

    None where there is nothing to compare, or nobody asked. Nothing else of the run depends on it. One that was made
    before, of the same images, backbone and ``weights`` (a file; None: random ones), is remembered beside the bank.
    Returns what was looked at as well, where that was now.
    """
    if "profile" in work.decisions.taken:
        return work.decisions.taken["profile"], None
    config, features = work.config, work.config.features
    frozen = not network.head.pool.learned and all(head_alone(network, phase) for phase in plan(config))
    few = isinstance(features, BankFeatures) and len(work.source.train.labels) <= features.profile_up_to
    if not frozen or not few:
        return None, None
    trainer = work.trainer()
    surveys: list[Survey] = []
    with work.clock.phase("features"):  # whose pace is that of the profile's pass
        pace = work.banks.pace(network, work.source, trainer)
    device = trainer.strategy.root_device.type
    remembered = Remembered(work.banks.root, _question(work, network, weights, pace, device))

    def find() -> dict[str, Any] | None:
        if known := trainer.strategy.broadcast(remembered.read()):  # all processes look, or none
            return Profile.read(known).plain()
        profile = anew()
        if profile is not None and trainer.is_global_zero:
            remembered.write(profile)
        return profile

    def anew() -> dict[str, Any] | None:
        try:
            surveys.append(look(config, work.source, AutoCut(), trainer, work.clock, work.banks))
            profile = _compared(surveys[0], work, network, trainer)
        except InputError as error:  # which a run without a profile would not meet
            log.info("no depth profile: %s", error)
            return None
        return profile.plain() if len(profile.rows) > 1 else None

    return work.decisions.take("profile", find), surveys[0] if surveys else None


def _question(work: Work, network: Network, weights: Path | None, pace: Pace, device: str) -> dict[str, Any]:
    """Say what a profile beside a frozen case depends on."""
    config = work.config
    return {
        "of": "depth profile",
        "settings": asdict(AutoCut()),
        "backbone": asdict(config.backbone),
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights else config.seed,
        "image_size": config.data.image_size,
        "images": fingerprint(work.source.train),
        "cut": [asdict(network.trunk.point), network.trunk.width, network.head.pool.kind],
        "pace": asdict(pace),
        "device": device,
        "seed": config.seed,
        "versions": versions(),
    }


def look(
    config: TrainConfig,
    source: Source,
    auto: AutoCut,
    trainer: pl.Trainer,
    clock: Clock,
    banks: Banks,
    priced: bool = True,
    val: int = 0,
) -> Survey:
    """Read training images, at most ``auto.images`` of them, at every depth that the weights reach, in one pass.

    ``priced``: whether anybody asks what it costs to get to each; else that is 0. ``val``: read at most so many
    validation images as well.

    Raises:
        InputError: Too few images; whatever is wrong with the backbone or its weights.
    """
    with clock.phase("profile"):
        depths, costs, preprocessing = _opened(config, banks, priced)
        chosen = replace(source, train=sample(source.train, auto.images, config.seed))
        if val:
            chosen = replace(chosen, val=sample(source.val, val, config.seed))
        reader = banks.reader(depths, image_module(config, chosen, preprocessing, trainer))
        features = np.asarray(reader.bank("train").features)
        judged = np.asarray(reader.bank("val").features) if val else None
    return Survey(Opened(depths, places(depths.points, depths.widths, costs, features)), features, chosen, judged)


def opened(config: TrainConfig, banks: Banks) -> Opened:
    """Open a backbone at every depth that its weights reach.

    Raises:
        InputError: It announces no depths; whatever is wrong with it or its weights.
    """
    depths, costs, _ = _opened(config, banks)
    return Opened(depths, places(depths.points, depths.widths, costs, torch.cat(depths.look(), 1).numpy()))


def _opened(
    config: TrainConfig, banks: Banks, priced: bool = True
) -> tuple[Depths, list[tuple[int, int]], Preprocessing]:
    """Open a backbone at every depth; what it costs to get there is a second's work, and remembered."""

    def costs_of(model: nn.Module, points: Sequence[Point], size: int) -> list[tuple[int, int]]:
        if not priced:
            return [(0, 0)] * len(points)
        question = {
            "of": "costs",
            "backbone": asdict(config.backbone),
            "image_size": size,
            "points": [asdict(point) for point in points],
            "versions": versions(),
        }
        remembered = Remembered(banks.root, question)
        if (known := remembered.read()) is None:
            known = by_point(model, points, size)
            remembered.write(known)
        return [(parameters, cost) for parameters, cost in known]

    return open_depths(config.backbone, _start(config), config.seed, config.data.image_size, costs_of)


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
                features = np.asarray(work.banks.reader(network, images).bank("train").features)
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
