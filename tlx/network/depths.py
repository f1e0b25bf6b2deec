"""Depths: a backbone that is read at several places in one forward pass, as far as its weights reach."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from tlx.config.groups import AllCut, CustomBackbone, LayerCut, PretrainedInit, ScratchInit, StageCut, TimmBackbone
from tlx.errors import InputError, nearest
from tlx.network.backbone import Backbone, Preprocessing, create
from tlx.network.cost import by_point
from tlx.network.cut import Point, Reader, Trunk, cut_at, layers, probe, stages
from tlx.network.depth import stage_depths
from tlx.network.init import lacking, load_pretrained
from tlx.network.layers import shorten
from tlx.network.pool import Pool
from tlx.network.unread import drop_unread, equal


class Depths(nn.Module):
    """A trunk read at each of ``points``, pooled and side by side: images (N, 3, S, S) to features (N, sum of widths).

    It stands where a trunk stands. Stages are averaged over the image, tokens before the patches' own left out; the
    last point may be a layer, averaged likewise, or the network's own features before its classifier. ``scale``
    multiplies the features of each depth: ones, until ``calibrate`` is called.
    """

    scale: torch.Tensor
    memory_format: torch.memory_format

    def __init__(self, model: nn.Module, points: Sequence[Point], image_size: int) -> None:
        super().__init__()
        self.model = model
        self.memory_format = torch.channels_last
        self.points = tuple(points)
        self.point = Point("all", points[-1].name, points[-1].stage)
        self.image_size = image_size
        self.layout, self.prefix = "vector", 0
        self._pool = Pool("vector", 0)
        if points[-1].kind == "layer":
            end = Trunk(model, points[-1], image_size)
            self._pool = Pool(end.layout, end.prefix)
        self.widths = tuple(part.shape[1] for part in self.look())
        self.width = sum(self.widths)
        self.shape = (self.width,)
        self.register_buffer("scale", torch.ones(len(points)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features of all depths, side by side, scaled."""
        return torch.cat([part * scale for part, scale in zip(self.parts(images), self.scale, strict=True)], 1)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what ``forward`` does; they are pooled already."""
        return self(images.contiguous(memory_format=torch.channels_last))

    def parts(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the pooled features of every depth, (N, D) each, in one forward pass."""
        model: Any = self.model
        indices = sorted(point.stage for point in self.points if point.stage is not None)
        ends = self.points[-1].stage is not None
        if not indices:
            final, maps = model.forward_features(images), []
        elif ends:
            maps = model.forward_intermediates(images, indices=indices, stop_early=True, intermediates_only=True)
        else:
            final, maps = model.forward_intermediates(images, indices=indices)
        found = dict(zip(indices, maps, strict=True))
        parts = [found[point.stage].mean((2, 3)) for point in self.points if point.stage is not None]
        if not ends:
            parts.append(model.forward_head(final) if self.points[-1].kind == "head" else self._pool(final))
        return parts

    def look(self) -> list[torch.Tensor]:
        """Compute the parts of one random image, in eval mode."""
        parts: Any = probe(_Parts(self), self.image_size)
        return list(parts)

    def calibrate(self) -> None:
        """Scale every depth to a root mean square of 1, as a random image has it with the weights of this moment.

        Depths differ in scale by an order of magnitude and more, and gradient descent has one learning rate for all. A
        fixed number a depth changes nothing for a solver that standardises, and needs no statistics of batches.
        """
        self.scale.copy_(torch.stack([1 / part.square().mean().sqrt().clamp_min(1e-6) for part in self.look()]))


class _Parts(nn.Module):
    """Hands out the depths one by one."""

    def __init__(self, depths: Depths) -> None:
        super().__init__()
        self.depths = depths

    def forward(self, images: torch.Tensor) -> Any:
        return self.depths.parts(images)


def open_depths(
    backbone: TimmBackbone | CustomBackbone,
    init: PretrainedInit | ScratchInit,
    seed: int,
    image_size: int | None = None,
) -> tuple[Depths, list[tuple[int, int]], Preprocessing]:
    """Build a backbone with its weights to read it at every depth that they reach, stages and head.

    Returns the depths, in eval mode, what it costs to get to each (parameters, multiply-adds), and how images are
    prepared. Random weights are those that ``network.build`` gives for the same seed.

    Raises:
        InputError: Whatever is wrong with the backbone or its weights.
    """
    whole, points = _reached(backbone, init, seed, image_size)
    model, size = whole.model, whole.preprocessing.image_size
    points = points or stage_points(model, size)  # a file of another network: loading it says so
    costs = by_point(model, points, size)
    depths = read_at(model, points, size)
    if isinstance(init, PretrainedInit):
        load_pretrained(model, backbone, init)
    for parameter in depths.parameters():
        parameter.requires_grad = False
    return depths.to(memory_format=torch.channels_last).eval(), costs, whole.preprocessing


def reached(
    backbone: TimmBackbone | CustomBackbone, init: PretrainedInit | ScratchInit, image_size: int | None = None
) -> list[Point]:
    """List where a backbone can be read as far as its weights reach, as ``reach`` does."""
    return _reached(backbone, init, 0, image_size)[1]


def _reached(
    backbone: TimmBackbone | CustomBackbone, init: PretrainedInit | ScratchInit, seed: int, image_size: int | None
) -> tuple[Backbone, list[Point]]:
    """Create the whole backbone, its weights random, and list where its own weights let it be read."""
    if isinstance(backbone, CustomBackbone):
        raise InputError(f"{backbone.name} announces no stages to compare", "choose cut=layer cut.name=... or cut=head")
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
    known = stage_points(model, image_size)
    points = known if cut.until is None else _points_until(model, known, cut.until, image_size)
    return read_at(model, points, image_size)


def read_at(model: nn.Module, points: Sequence[Point], image_size: int) -> Depths:
    """Cut ``model`` in place behind the last of ``points`` (in order from the input on) and read it at all of them.

    What none of them reads is dropped. The proof: every depth returns, bit for bit, what it returned before.

    Raises:
        InputError: A place that cannot be read together with those before it.
    """
    last = points[-1]
    inner = [point for point in points if point.kind == "stage"]
    expected = Depths(model, inner, image_size).look() if inner else []
    if last.kind == "stage":
        indices = sorted(point.stage for point in inner if point.stage is not None)
        model.prune_intermediate_layers(indices, prune_norm=True, prune_head=True)  # type: ignore[operator]
    elif last.kind == "layer" and not shorten(model, last.name, image_size):
        raise _not_together(last)
    elif last.kind == "layer":
        trunk = Trunk(model, last, image_size)
        expected.append(Pool(trunk.layout, trunk.prefix)(probe(trunk, image_size)))
    else:
        expected.append(probe(model, image_size))
    try:
        depths = Depths(model, points, image_size)
        drop_unread(depths, image_size)
        proven = all(map(_equal, depths.look(), expected))
    except (TypeError, AttributeError):  # what stands in for a dropped module has not all it had
        proven = False
    if not proven:
        raise _not_together(last)
    return depths


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and equal(one, other)


def _not_together(last: Point) -> InputError:
    what = f"{last.name} cannot be read in one pass with the stages before it"
    return InputError(what, "choose a stage to end at: cut=all cut.until=STAGE (see inspect)")


def stage_points(model: nn.Module, image_size: int) -> list[Point]:
    """List the announced stages from the input on; those that run side by side by their depth."""
    known = stages(model)
    depths = stage_depths(model, image_size)
    ordered = sorted(known, key=lambda stage: (depths[stage.index], stage.index))
    return [Point("stage", stage.name, stage.index) for stage in ordered]


def reach(model: nn.Module, image_size: int, lacking: Collection[str] = ()) -> list[Point]:
    """List where a whole model can be read, from the input on, when its weights file does not hold ``lacking``.

    With all weights: every stage, then the head. Else: the stages that the weights cover and, where the file ends
    inside a stage, the deepest layer that it covers. The list may be empty.
    """
    known = stage_points(model, image_size)
    if not lacking:
        return [*known, Point("head", "head")]
    covered: list[Point] = []
    held: set[str] = set()
    for point in known:
        names = _needed(model, StageCut(stage=point.stage or 0), image_size)
        if names.isdisjoint(lacking):
            covered.append(point)
            held |= names
    deepest = _deepest_layer(model, image_size, lacking, covered, held)
    return [*covered, deepest] if deepest else covered


def _needed(model: nn.Module, cut: StageCut | LayerCut, image_size: int) -> set[str]:
    """Name the tensors that a trunk cut there has."""
    return set(cut_at(deepcopy(model), cut, image_size).model.state_dict())


def _points_until(model: nn.Module, known: list[Point], until: int | str, image_size: int) -> list[Point]:
    """List the stages up to and including ``until``, or those before the layer of that name, and the layer."""
    for place, point in enumerate(known):
        if until in (point.stage, point.name) and not isinstance(until, bool):
            return known[: place + 1]
    valid = layers(model, image_size)
    if until not in valid:
        names = [point.name for point in known]
        raise InputError(f"cut.until={until} does not exist", nearest(str(until), names + valid))
    held = _needed(model, LayerCut(name=str(until)), image_size)
    inside = [point for point in known if _needed(model, StageCut(stage=point.stage or 0), image_size) < held]
    return [*inside, Point("layer", str(until))]


def _deepest_layer(
    model: nn.Module, image_size: int, lacking: Collection[str], covered: list[Point], held: set[str]
) -> Point | None:
    """Find the deepest layer that needs nothing that is lacking and more than ``held``, what the stages need.

    None where there is none, or none that can be read together with the stages.
    """
    ended = _ended_before(model, image_size, lacking)
    for name in sorted((n for n in layers(model, image_size) if n in ended), key=ended.__getitem__, reverse=True):
        point = Point("layer", name)
        names = _needed(model, LayerCut(name=name), image_size)
        if names <= held:
            return None  # no layer before it has more
        if names.isdisjoint(lacking) and names > held:
            try:
                read_at(deepcopy(model), [*covered, point], image_size)
            except InputError:
                continue
            return point
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
