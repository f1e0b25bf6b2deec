"""Cut: where the backbone ends. What is kept is the trunk; what lies behind is neither stored nor computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tlx.config.groups import EarlyCut, HeadCut, LayerCut, StageCut
from tlx.errors import InputError, nearest

Cut = HeadCut | EarlyCut | StageCut | LayerCut
CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Point:
    """A place in a backbone. ``kind`` says how the trunk is read there: "head", "stage" or "layer"."""

    kind: str
    name: str
    stage: int | None = None


@dataclass(frozen=True)
class Stage:
    """One entry of timm's ``feature_info``."""

    index: int
    name: str
    channels: int
    reduction: int


class Trunk(nn.Module):
    """A backbone that ends at a point.

    Maps images (N, 3, S, S) to features: (N, D) behind the whole network, else maps (N, D, H, W), (N, H, W, D) or
    tokens (N, L, D); ``layout`` says which, ``prefix`` how many tokens stand before the patches' own.
    """

    def __init__(self, model: nn.Module, point: Point, image_size: int) -> None:
        super().__init__()
        self.model = model
        self.point = point
        self.image_size = image_size
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        self.shape = tuple(probe(self, image_size).shape[1:])
        self.layout = self._layout()
        self.width = self.shape[0] if self.layout == "NCHW" else self.shape[-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features at the cut."""
        if self.point.kind == "head":
            return self.model(images)
        if self.point.kind == "layer":
            return self.model.forward_features(images)  # type: ignore[operator]
        maps = self.model.forward_intermediates(  # type: ignore[operator]
            images, indices=[self.point.stage], stop_early=True, intermediates_only=True
        )
        return maps[0]

    def _layout(self) -> str:
        if len(self.shape) == 1:
            return "vector"
        if len(self.shape) == 2:
            return "NLC"
        # Stages always come channels first; elsewhere maps are laid out as the architecture has them inside.
        return "NCHW" if self.point.kind == "stage" else str(getattr(self.model, "output_fmt", "NCHW"))


def cut_at(model: nn.Module, cut: Cut, image_size: int) -> Trunk:
    """Cut ``model`` (without its classifier) in place.

    Raises:
        InputError: A cut that does not exist, with the valid ones; an input size that the network cannot take.
    """
    probe(model, image_size)  # an image size that does not fit is told before anything else
    point = resolve(model, cut, image_size)
    if point.kind == "stage":
        prune(model, point.stage or 0)
    elif point.kind == "layer":
        _truncate(model, point.name, image_size)
    return Trunk(model, point, image_size)


def prune(model: nn.Module, stage: int) -> None:
    """Drop in place what lies behind a stage."""
    model.prune_intermediate_layers([stage], prune_norm=True, prune_head=True)  # type: ignore[operator]


def resolve(model: nn.Module, cut: Cut, image_size: int) -> Point:
    """Find the point that a cut means in this model."""
    known = stages(model)
    names = [stage.name for stage in known]
    if isinstance(cut, HeadCut):
        return Point("head", "head")
    if isinstance(cut, EarlyCut):
        index = max(1, math.ceil(round(cut.keep * len(known), 9))) - 1  # 0.28 * 25 is a little more than 7
        return Point("stage", names[index], index)
    if isinstance(cut, StageCut):
        index = names.index(cut.stage) if cut.stage in names else cut.stage  # type: ignore[assignment]
        if not isinstance(index, int) or not 0 <= index < len(known):
            listed = ", ".join(f"{stage.index} ({stage.name})" for stage in known)
            raise InputError(f"cut.stage={cut.stage} does not exist", f"one of: {listed}")
        return Point("stage", names[index], index)
    valid = layers(model, image_size)
    if cut.name not in valid:
        raise InputError(f"cut.name={cut.name} does not exist", nearest(cut.name, valid))
    return Point("layer", cut.name)


def stages(model: nn.Module) -> list[Stage]:
    """List the stages that timm announces for a model, from the input on."""
    info: Any = model.feature_info
    return [Stage(i, f["module"], f["num_chs"], f["reduction"]) for i, f in enumerate(info)]


def layers(model: nn.Module, image_size: int) -> list[str]:
    """List the module paths at which a layer cut is offered, from the input on.

    They are the children of sequences on the main path that a forward pass runs: of the model itself, of
    ``Sequential`` and ``ModuleList``, and of announced stages that return what something inside them returned. A path
    inside a residual block is none, for the block's sum lies behind it; a transformer announces such blocks as stages.
    """
    main = _passing_on(model, image_size)
    ran = set(_executed(model, image_size))

    def below(module: nn.Module, path: str) -> Iterator[str]:
        for name, child in module.named_children():
            here = f"{path}.{name}" if path else name
            looped = isinstance(child, nn.ModuleList)
            if isinstance(child, nn.Identity) or not (looped or here in ran):
                continue
            if not looped:  # a list of modules is looped over and returns nothing itself
                yield here
            if looped or isinstance(child, nn.Sequential) or here in main:
                yield from below(child, here)

    return list(below(model, ""))


def _passing_on(model: nn.Module, image_size: int) -> set[str]:
    """Find the announced stages that add nothing to what the last module inside them returned."""
    announced = {stage.name for stage in stages(model)}
    returned: dict[str, Any] = {}

    def end(path: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            returned[path] = output

        return hook

    hooks = [module.register_forward_hook(end(path)) for path, module in model.named_modules() if path]
    try:
        probe(Reader(model), image_size)
    finally:
        for hook in hooks:
            hook.remove()
    inside = {stage: [out for path, out in returned.items() if path.startswith(f"{stage}.")] for stage in announced}
    return {stage for stage in announced & set(returned) if any(out is returned[stage] for out in inside[stage])}


def _executed(model: nn.Module, image_size: int, until: str | None = None) -> dict[str, torch.Tensor | None]:
    """Run a forward pass up to the pooling; map the modules that ran, in order, to what they returned.

    With ``until``, only that module's output is kept, and only modules that started before it finished are listed.
    """
    ran: dict[str, torch.Tensor | None] = {}
    finished = False

    def start(path: str) -> Any:
        def hook(_: nn.Module, __: Any) -> None:
            if not finished:
                ran.setdefault(path, None)

        return hook

    def end(_: nn.Module, __: Any, output: Any) -> None:
        nonlocal finished
        if not finished and isinstance(output, torch.Tensor):
            finished, ran[until or ""] = True, output.clone()  # an activation in place may write over it

    hooks = [module.register_forward_pre_hook(start(path)) for path, module in model.named_modules()]
    if until is not None:
        hooks.append(model.get_submodule(until).register_forward_hook(end))
    try:
        probe(Reader(model), image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def probe(module: nn.Module, image_size: int, seed: int = 0) -> torch.Tensor:
    """Run one random image through a module in eval mode and leave its state as it was.

    Raises:
        InputError: The module cannot take this image size.
    """
    image = torch.randn(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(seed))
    training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            features: torch.Tensor = module(image)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"the backbone cannot take images of {image_size} pixels: {reason}"
        raise InputError(what, "leave data.image_size=null for its own size") from None
    finally:
        for m, mode in training.items():
            m.training = mode
    return features


def _truncate(model: nn.Module, name: str, image_size: int) -> None:
    """Drop every module that runs only after the module called ``name`` has finished, then prove the result.

    The proof: what the shortened network returns is, bit for bit, what that module returned inside the whole one.
    """
    behind, expected = _run_after(model, name, image_size)
    for path in behind:
        parent = model.get_submodule(path.rpartition(".")[0])
        child = path.rpartition(".")[2]
        if isinstance(parent, CONTAINERS):
            delattr(parent, child)
        elif isinstance(parent.get_submodule(child), CONTAINERS):
            setattr(parent, child, nn.Sequential())  # may be looped over, which an Identity may not
        else:
            setattr(parent, child, nn.Identity())
    try:
        got = probe(Reader(model), image_size)
        proven = got.shape == expected.shape and torch.equal(got, expected)
    except (InputError, TypeError, AttributeError):  # what stands in for a dropped module has not all it had
        proven = False
    if not proven:
        raise InputError(
            f"cut.name={name} is not on the network's main path", "choose a stage: cut=stage (see inspect)"
        )


class Reader(nn.Module):
    """Reads a model's features before its own pooling."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features."""
        return self.model.forward_features(images)  # type: ignore[operator]


def _run_after(model: nn.Module, name: str, image_size: int) -> tuple[list[str], torch.Tensor]:
    """List the outermost modules that run only after ``name`` finished (or never), and what ``name`` returned."""
    ran = _executed(model, image_size, until=name)
    returned = ran[name]
    if returned is None:
        raise InputError(f"cut.name={name} returns no single tensor", "choose a stage: cut=stage (see inspect)")
    # A container that is looped over never runs itself: it stays as long as anything in it stays.
    kept = set(ran) | {path[:i] for path in ran for i, c in enumerate(path) if c == "."} | {""}
    behind: list[str] = []
    for path, module in model.named_modules():
        inside = path.rpartition(".")[0] in kept
        # Inside what is kept, only modules on the main path go: a block's unused parts belong to the block.
        if path not in kept and inside and not _within(path, name, model) and not isinstance(module, nn.Identity):
            behind.append(path)
    return behind, returned


def _within(path: str, name: str, model: nn.Module) -> bool:
    """Whether ``path`` lies inside a module that ran to its end, whose inner parts are its own affair."""
    parent = path.rpartition(".")[0]
    ancestors = {name[:i] for i, c in enumerate(name) if c == "."} | {""}
    return parent not in ancestors and not isinstance(model.get_submodule(parent), nn.ModuleList)
