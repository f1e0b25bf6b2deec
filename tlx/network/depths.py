"""Depths: a backbone that is read at several places in one forward pass, as far as its weights reach."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from tlx.config.groups import AllCut, HeadCut, LayerCut, PretrainedInit, ScratchInit, StageCut, TimmBackbone
from tlx.errors import InputError, nearest
from tlx.network.backbone import Backbone, Preprocessing, create
from tlx.network.cost import by_point
from tlx.network.cut import Cut, Point, Reader, Trunk, cut_at, layers, probe, prune, stages
from tlx.network.init import lacking, load_pretrained
from tlx.network.pool import Pool, cut_for


class Depths(nn.Module):
    """A trunk read at each of ``points``, pooled and side by side: images (N, 3, S, S) to features (N, sum of widths).

    It stands where a trunk stands. Stages are averaged over the image, tokens before the patches' own left out; the
    last point may be a layer, pooled as ``pool`` says, or the network's own features before its classifier. ``scale``
    multiplies the features of each depth: ones, until ``calibrate`` is called.
    """

    scale: torch.Tensor

    def __init__(self, trunk: Trunk, points: Sequence[Point], pool: str = "auto") -> None:
        super().__init__()
        self.model = trunk.model
        self.points = tuple(points)
        self.point = Point("all", points[-1].name, points[-1].stage)
        self.image_size = trunk.image_size
        self.layout, self.prefix = "vector", trunk.prefix
        self._pool = Pool(trunk.layout, trunk.prefix, pool)
        self.register_buffer("scale", torch.ones(len(points)))
        self._prove(trunk)
        self.widths = tuple(len(part[0]) for part in probe(_Parts(self), self.image_size))
        self.width = sum(self.widths)
        self.shape = (self.width,)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features of all depths, side by side, scaled."""
        return torch.cat([part * scale for part, scale in zip(self.parts(images), self.scale, strict=True)], 1)

    def calibrate(self) -> None:
        """Scale every depth to a root mean square of 1, as a random image has it with the weights of this moment.

        Depths differ in scale by an order of magnitude and more, and gradient descent has one learning rate for all. A
        fixed number a depth changes nothing for a solver that standardises, and needs no statistics of batches.
        """
        parts = probe(_Parts(self), self.image_size)
        self.scale.copy_(torch.stack([1 / part.square().mean().sqrt().clamp_min(1e-6) for part in parts]))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what ``forward`` does; they are pooled already."""
        return self(images.contiguous(memory_format=torch.channels_last))

    def parts(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the pooled features of every depth, (N, D) each, in one forward pass."""
        model: Any = self.model
        indices = [point.stage for point in self.points if point.kind == "stage"]
        last = self.points[-1]
        if last.kind == "stage":
            maps = model.forward_intermediates(images, indices=indices, stop_early=True, intermediates_only=True)
            return [each.mean((2, 3)) for each in maps]
        if indices:
            final, maps = model.forward_intermediates(images, indices=indices)
        else:
            final, maps = model.forward_features(images), []
        end = model.forward_head(final) if last.kind == "head" else self._pool(final)
        return [*(each.mean((2, 3)) for each in maps), end]

    def _prove(self, trunk: Trunk) -> None:
        """Prove that the deepest features of the one pass are those of the trunk, which ends there."""
        expected = probe(trunk, self.image_size)
        got = probe(_Parts(self), self.image_size)[-1]
        if not torch.equal(got, self._pool(expected)):
            what = f"{self.points[-1].name} cannot be read in one pass with the stages before it"
            raise InputError(what, "choose a stage: cut=all cut.until=STAGE (see inspect)")


class _Parts(nn.Module):
    """Hands out the depths one by one."""

    def __init__(self, depths: Depths) -> None:
        super().__init__()
        self.depths = depths

    def forward(self, images: torch.Tensor) -> Any:
        return self.depths.parts(images)


def open_depths(
    backbone: TimmBackbone, init: PretrainedInit | ScratchInit, seed: int, image_size: int | None = None
) -> tuple[Depths, list[tuple[int, int]], Preprocessing]:
    """Build a backbone with its weights to read it at every depth that they reach, stages and head.

    Returns the depths, in eval mode, what it costs to get to each (parameters, multiply-adds), and how images are
    prepared. Random weights are those that ``network.build`` gives for the same seed.

    Raises:
        InputError: Whatever is wrong with the backbone or its weights.
    """
    whole, points = _reached(backbone, init, seed, image_size)
    model, size = whole.model, whole.preprocessing.image_size
    points = points or _points(model)  # a file of another network: loading it says so
    costs = by_point(model, points, size)
    depths = read_at(model, points, size)
    if isinstance(init, PretrainedInit):
        load_pretrained(model, backbone, init)
    for parameter in depths.parameters():
        parameter.requires_grad = False
    return depths.to(memory_format=torch.channels_last).eval(), costs, whole.preprocessing


def reached(backbone: TimmBackbone, init: PretrainedInit | ScratchInit, image_size: int | None = None) -> list[Point]:
    """List where a backbone can be read as far as its weights reach, as ``reach`` does."""
    return _reached(backbone, init, 0, image_size)[1]


def _reached(
    backbone: TimmBackbone, init: PretrainedInit | ScratchInit, seed: int, image_size: int | None
) -> tuple[Backbone, list[Point]]:
    """Create the whole backbone, its weights random, and list where its own weights let it be read."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole = create(backbone, image_size)
    absent = lacking(whole.model, backbone, init) if isinstance(init, PretrainedInit) else ()
    return whole, reach(whole.model, whole.preprocessing.image_size, absent)


def cut_all(model: nn.Module, cut: AllCut, image_size: int) -> Depths:
    """Cut ``model`` (without its classifier) in place behind ``cut.until``, and read every stage up to there.

    Raises:
        InputError: A place that does not exist, with the valid ones; an input size that the network cannot take.
    """
    points = _points(model) if cut.until is None else _points_until(model, cut.until, image_size)
    return read_at(model, points, image_size)


def read_at(model: nn.Module, points: Sequence[Point], image_size: int) -> Depths:
    """Cut ``model`` in place behind the last of ``points`` (in order from the input on) and read it at all of them."""
    last = points[-1]
    ends: dict[str, Cut] = {
        "head": HeadCut(),
        "stage": StageCut(stage=last.stage or 0),
        "layer": LayerCut(name=last.name),
    }
    trunk, pool = cut_for("auto", model, ends[last.kind], image_size)
    return Depths(trunk, points, pool)


def reach(model: nn.Module, image_size: int, lacking: Collection[str] = ()) -> list[Point]:
    """List where a whole model can be read, from the input on, when its weights file does not hold ``lacking``.

    With all weights: every stage, then the head. Else: the stages that the weights cover and, where the file ends
    inside a stage, the deepest layer that it covers. The list may be empty.
    """
    probe(model, image_size)  # an image size that does not fit is told before anything else
    if not lacking:
        return [*_points(model), Point("head", "head")]
    copy = deepcopy(model)
    held: set[str] = set()
    covered: list[Point] = []
    for point in reversed(_points(model)):
        prune(copy, point.stage or 0)
        names = set(copy.state_dict())
        if names.isdisjoint(lacking):
            covered.insert(0, point)
            held = held or names
    deepest = _deepest_layer(model, image_size, lacking, held)
    return [*covered, deepest] if deepest else covered


def _points(model: nn.Module) -> list[Point]:
    return [Point("stage", stage.name, stage.index) for stage in stages(model)]


def _points_until(model: nn.Module, until: int | str, image_size: int) -> list[Point]:
    """List the stages up to and including ``until``, or those before the layer of that name, and the layer."""
    known = _points(model)
    names = [point.name for point in known]
    index = names.index(until) if until in names else until
    if isinstance(index, int) and 0 <= index < len(known):
        return known[: index + 1]
    valid = layers(model, image_size)
    if until not in valid:
        raise InputError(f"cut.until={until} does not exist", nearest(str(until), names + valid))
    copy = deepcopy(model)
    held = set(cut_at(deepcopy(model), LayerCut(name=str(until)), image_size).model.state_dict())
    inside: list[Point] = []
    for point in reversed(known):
        prune(copy, point.stage or 0)
        if set(copy.state_dict()) < held:
            inside.insert(0, point)
    return [*inside, Point("layer", str(until))]


def _deepest_layer(model: nn.Module, image_size: int, lacking: Collection[str], held: set[str]) -> Point | None:
    """Find the deepest layer that needs nothing that is lacking, and more than ``held``; None where there is none."""
    ended = _ended_before(model, image_size, lacking)
    for name in sorted((n for n in layers(model, image_size) if n in ended), key=ended.__getitem__, reverse=True):
        try:
            names = set(cut_at(deepcopy(model), LayerCut(name=name), image_size).model.state_dict())
        except InputError:  # not on the main path after all
            continue
        if names.isdisjoint(lacking):
            return Point("layer", name) if names > held else None
    return None


def _ended_before(model: nn.Module, image_size: int, lacking: Collection[str]) -> dict[str, int]:
    """Run a forward pass; map every module that finished before anything lacking was needed to when it finished."""
    owners = {name.rpartition(".")[0] for name in lacking}
    ended: dict[str, int] = {}
    needed = "" in owners  # the model's own parameters, such as position embeddings, are needed from the start

    def start(path: str) -> Any:
        def hook(_: nn.Module, __: Any) -> None:
            nonlocal needed
            needed = needed or path in owners

        return hook

    def end(path: str) -> Any:
        def hook(_: nn.Module, __: Any, ___: Any) -> None:
            if not needed:
                ended[path] = len(ended)

        return hook

    hooks = [module.register_forward_pre_hook(start(path)) for path, module in model.named_modules() if path]
    hooks += [module.register_forward_hook(end(path)) for path, module in model.named_modules() if path]
    try:
        probe(Reader(model), image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return ended
