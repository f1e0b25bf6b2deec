"""Cut: where the backbone ends. What is kept is the trunk; what lies behind is neither stored nor computed."""

from __future__ import annotations

import math

import torch
from torch import nn

from tlx.config.groups import DepthCut, EarlyCut, HeadCut, LayerCut, StageCut
from tlx.errors import InputError, nearest
from tlx.network.custom import without_classifier
from tlx.network.depth import stage_depths, within
from tlx.network.layers import Reached, end_at, layers, shorten
from tlx.network.layout import layout_of
from tlx.network.points import Point, Stage, description_of, stages
from tlx.network.trace import Reader, probe, read
from tlx.network.unread import drop_unread, same

__all__ = ["Cut", "Point", "Reader", "Stage", "Trunk", "cut_at", "layers", "probe", "resolve", "stages"]

Cut = HeadCut | EarlyCut | DepthCut | StageCut | LayerCut


class Trunk(nn.Module):
    """A backbone that ends at a point.

    Maps images (N, 3, S, S) to features: (N, D) behind the whole network, else maps (N, D, H, W), (N, H, W, D) or
    tokens (N, L, D); ``layout`` says which, ``prefix`` how many tokens stand before the patches' own. With ``ends``,
    the forward pass is ended as soon as the point has been passed; else the network itself ends there.

    Raises:
        InputError: Features of another form, or an input size that the network cannot take.
    """

    def __init__(self, model: nn.Module, point: Point, image_size: int, ends: bool = False) -> None:
        super().__init__()
        self.model = model
        if ends:
            model.get_submodule(point.name).register_forward_hook(end_at)
        self.point = point
        self.image_size = image_size
        features = probe(self, image_size)
        if not isinstance(features, torch.Tensor) or features.shape[0] != 1:
            what = f"what the backbone returns behind {point.kind} {point.name} is not one tensor, image by image"
            raise InputError(what, "choose another cut, such as cut=stage (see inspect)")
        self.shape = tuple(features.shape[1:])
        self.layout, self.prefix = layout_of(self.shape, model, image_size)
        if point.kind == "stage" and len(self.shape) == 3:
            self.layout = "NCHW"  # as timm announces it
        self.width = self.shape[0] if self.layout == "NCHW" else self.shape[-1]
        # Code that was not written for it may fail on channels last: `x.view(len(x), -1)` does.
        self.memory_format: torch.memory_format = (
            torch.contiguous_format if description_of(model) else torch.channels_last
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features at the cut."""
        if self.point.kind == "head":
            return self.model(images)
        if self.point.kind == "layer":
            try:
                return read(self.model, images)
            except Reached as end:
                return end.features
        return self.model.forward_intermediates(  # type: ignore[operator]
            images, indices=[self.point.stage], stop_early=True, intermediates_only=True
        )[0]


def cut_at(model: nn.Module, cut: Cut, image_size: int) -> Trunk:
    """Cut ``model`` (without its classifier) in place, by a few forward passes.

    Raises:
        InputError: A cut that does not exist, with the valid ones; an input size that the network cannot take.
    """
    point = resolve(model, cut, image_size)
    own = description_of(model) is not None
    if own and point.kind == "head":
        without_classifier(model)
    ends = point.kind == "layer" and (own or not shorten(model, point.name, image_size))
    trunk = Trunk(model, point, image_size, ends)
    if point.kind == "stage":
        _prune(trunk)
    drop_unread(trunk, image_size)
    return trunk


def _prune(trunk: Trunk) -> None:
    """Let timm take off what lies behind a stage, and prove that the stage returns what it returned before."""
    model, point = trunk.model, trunk.point
    features = probe(trunk, trunk.image_size)
    model.prune_intermediate_layers([point.stage], prune_norm=True, prune_head=True)  # type: ignore[operator]
    if not same(features, trunk, trunk.image_size):
        what = f"timm's own pruning changes what stage {point.name} of this backbone returns"
        raise InputError(what, "choose another cut, such as cut=layer (see inspect)")


def resolve(model: nn.Module, cut: Cut, image_size: int) -> Point:
    """Find the point that a cut means in this model.

    Raises:
        InputError: A cut that does not exist, with the valid ones.
    """
    if isinstance(cut, HeadCut):
        return Point("head", "head")
    if isinstance(cut, EarlyCut):
        return _early(model, cut.keep, image_size)
    if isinstance(cut, DepthCut):
        return within(model, cut.keep, layers(model, image_size), image_size)
    if isinstance(cut, StageCut):
        return _stage(model, cut.stage, image_size)
    valid = layers(model, image_size)
    if cut.name not in valid:
        if _classifies(model, cut.name):
            raise InputError(
                f"cut.name={cut.name} holds the classifier, behind the last layer", "take it off: cut=head"
            )
        there = cut.name and cut.name in dict(model.named_modules())
        what = "is not on the network's main path" if there else "does not exist"
        mend = nearest(cut.name, valid) if valid else "this backbone has none; choose a stage: cut=stage (see inspect)"
        raise InputError(f"cut.name={cut.name} {what}", mend + _features(model, image_size))
    return Point("layer", cut.name)


def _classifies(model: nn.Module, path: str) -> bool:
    """Whether a module is the classifier, or holds it."""
    description = description_of(model)
    known = description.classifier if description else (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    paths = [known] if isinstance(known, str) else known or []  # some have two heads
    return any(name == path or name.startswith(f"{path}.") for name in paths)


def _early(model: nn.Module, keep: float, image_size: int) -> Point:
    """Find the last of the early stages. Branches that run side by side are ordered by their depth."""
    known = stages(model)
    if not description_of(model) and hasattr(model, "forward_intermediates"):
        depths = stage_depths(model, image_size)
        known = sorted(known, key=lambda stage: (depths[stage.index], stage.index))
    last = known[max(1, math.ceil(round(keep * len(known), 9))) - 1]  # 0.28 * 25 is a little more than 7
    return _at_stage(model, last)


def _stage(model: nn.Module, wanted: int | str, image_size: int) -> Point:
    known = stages(model)
    found = [stage for stage in known if wanted in (stage.index, stage.name) and not isinstance(wanted, bool)]
    listed = ", ".join(f"{stage.index} ({stage.name})" for stage in known)
    if not found:
        raise InputError(f"cut.stage={wanted} does not exist", f"one of: {listed}{_features(model, image_size)}")
    if len(found) > 1:
        raise InputError(f"cut.stage={wanted} means several stages", f"give its index: {listed}")
    return _at_stage(model, found[0])


class _Stages(nn.Module):
    """Reads all stages of a timm model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Compute the features behind every stage."""
        features: list[torch.Tensor] = self.model.forward_intermediates(images, intermediates_only=True)  # type: ignore
        return features


def _features(model: nn.Module, image_size: int) -> str:
    """Say in which shape every stage returns its features; nothing of a network that announces none."""
    known = stages(model)
    if description_of(model):  # which has been measured
        shapes = [(stage.channels, *(2 * (math.ceil(image_size / stage.reduction),))) for stage in known]
    elif hasattr(model, "forward_intermediates"):
        shapes = [tuple(features.shape[1:]) for features in probe(_Stages(model), image_size)]
    else:
        return ""
    told = (f"{stage.name} {' x '.join(map(str, shape))}" for stage, shape in zip(known, shapes, strict=False))
    return f"; features at {image_size} px: {', '.join(told)}" if known else ""


def _at_stage(model: nn.Module, stage: Stage) -> Point:
    """Point at a stage; a network of the user's own is read there as at any layer."""
    return Point("layer", stage.name) if description_of(model) else Point("stage", stage.name, stage.index)
