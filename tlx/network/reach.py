"""Reach: at which depths a backbone can be read, as far as its weights go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from tlx.config.groups import AllCut, CustomBackbone, LayerCut, PretrainedInit, ScratchInit, StageCut, TimmBackbone
from tlx.errors import InputError, nearest
from tlx.network.backbone import Backbone, create
from tlx.network.cost import by_point
from tlx.network.cut import cut_at, layers
from tlx.network.depth import stage_depths
from tlx.network.depths import Depths, read_at
from tlx.network.init import lacking, load_pretrained
from tlx.network.points import Point, stages
from tlx.network.trace import Reader, probe
from tlx.preprocessing import Preprocessing


def open_depths(
    backbone: TimmBackbone | CustomBackbone,
    init: PretrainedInit | ScratchInit,
    seed: int,
    image_size: int | None = None,
    costs_of: Callable[[nn.Module, Sequence[Point], int], list[tuple[int, int]]] = by_point,
) -> tuple[Depths, list[tuple[int, int]], Preprocessing]:
    """Build a backbone with its weights to read it at every depth that they reach, stages and head.

    Returns the depths, in eval mode, what it costs to get to each (parameters, multiply-adds), and how images are
    prepared. Random weights are those that ``network.build`` gives for the same seed. ``costs_of`` measures the costs;
    somebody may know them already.

    Raises:
        InputError: Whatever is wrong with the backbone or its weights.
    """
    whole, points = _reached(backbone, init, seed, image_size)
    model, size = whole.model, whole.preprocessing.image_size
    points = points or stage_points(model, size)  # a file of another network: loading it says so
    costs = costs_of(model, points, size)
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


def within_reach(
    backbone: TimmBackbone | CustomBackbone, init: PretrainedInit, image_size: int | None = None
) -> str | None:
    """Spell the deepest cut that the weights reach, as a command line does; None where they reach none."""
    if isinstance(backbone, CustomBackbone):
        model = create(backbone, image_size).model
        point = _deepest_layer(
            model, image_size or backbone.image_size, lacking(model, backbone, init), [], set(), alone=True
        )
    else:
        point = next(iter(reached(backbone, init, image_size)[-1:]), None)
    if point is None or point.kind == "head":
        return None
    return f"cut=layer cut.name={point.name}" if point.stage is None else f"cut=stage cut.stage={point.stage}"


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
        raise InputError(f"cut.until={until} does not exist", nearest(str(until), dict.fromkeys(names + valid)))
    held = _needed(model, LayerCut(name=str(until)), image_size)
    inside = [point for point in known if _needed(model, StageCut(stage=point.stage or 0), image_size) < held]
    return [*inside, Point("layer", str(until))]


def _deepest_layer(
    model: nn.Module,
    image_size: int,
    lacking: Collection[str],
    covered: list[Point],
    held: set[str],
    alone: bool = False,
) -> Point | None:
    """Find the deepest layer that needs nothing that is lacking and more than ``held``, what the stages need.

    None where there is none, or none that can be read together with the stages, unless ``alone``.
    """
    ended = _ended_before(model, image_size, lacking)
    for name in sorted((n for n in layers(model, image_size) if n in ended), key=ended.__getitem__, reverse=True):
        point = Point("layer", name)
        names = _needed(model, LayerCut(name=name), image_size)
        if names <= held:
            return None  # no layer before it has more
        if names.isdisjoint(lacking) and names > held:
            if alone:
                return point
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
