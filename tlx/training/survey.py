"""Survey: the depth profile of a run's backbone on its training images, and the cuts that are settled by looking."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
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
from tlx.network.cut import Point, probe
from tlx.network.depths import Depths, open_depths, reached
from tlx.network.inference import Embedder, predict
from tlx.network.network import Network
from tlx.results import profile as shown
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.decisions import Decisions
from tlx.training.work import Work, image_module, solvable

log = logging.getLogger("tlx")


@dataclass(frozen=True)
class Survey:
    """The features (N, sum of widths) of training images at every depth, from one pass, and what each depth is."""

    depths: Depths
    found: list[tuple[Place, np.ndarray]]
    source: Source  # of the images that were looked at

    @property
    def places(self) -> list[Place]:
        """The depths, from the input on."""
        return [place for place, _ in self.found]

    def read(self, network: Network, own: Place) -> np.ndarray | None:
        """Return what a network whose trunk is as it was created reads of these images (N, D), if it is among this.

        That it is, bit for bit, is proven on an image; else None.
        """
        index = index_of(own, self.places)
        if index is not None:
            names = {self.places[index].name}
        elif isinstance(network.trunk, Depths):
            names = {point.name for point in network.trunk.points}
        else:
            return None
        chosen = [(place, part) for place, part in self.found if place.name in names]
        if len(chosen) < len(names):
            return None
        parts = dict(zip((p.name for p in self.depths.points), _parts(self.depths), strict=True))
        scale = network.trunk.scale.tolist() if isinstance(network.trunk, Depths) else [1.0]
        expected = torch.cat([parts[place.name] * k for (place, _), k in zip(chosen, scale, strict=True)], 1)
        if not torch.equal(probe(_Pooled(network), network.trunk.image_size), expected):
            return None
        return np.hstack([part * np.float32(k) for (_, part), k in zip(chosen, scale, strict=True)])
