"""Layers: the module paths at which a network can be cut, and how it is made to end there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from tlx.network.points import description_of
from tlx.network.trace import Reader, main_path, probe, record
from tlx.network.unread import same

CONTAINERS = (nn.Sequential, nn.ModuleList)


class Reached(BaseException):
    """Carries the features out of a forward pass that ends before its end; no error, and no one else's to catch."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features = features


def end_at(_: nn.Module, __: Any, output: torch.Tensor) -> None:
    """End the forward pass (a forward hook)."""
    raise Reached(output)


def layers(model: nn.Module, image_size: int) -> list[str]:
    """List the module paths at which a layer cut is offered, from the input on.

    They lie on the main path: every way from the image to the features leads through what they return, one tensor,
    image by image. A path inside a residual block is none, for the sum goes around it. And they are steps that the
    architecture names itself: the children of sequences, of what announces stages, and of stages that return what
    something inside them returned.
    """
    if description := description_of(model):
        return description.layers
    runs, features, image = record(Reader(model), model, image_size)
    main = main_path(features, image)
    info: Any = model.feature_info
    announced = {stage["module"] for stage in info}
    opened = {name[:i] for name in announced for i, c in enumerate(name) if c == "."}
    for stage in announced & set(runs):
        inside = (run.output for path, run in runs.items() if path.startswith(f"{stage}."))
        if any(output is runs[stage].output for output in inside):
            opened.add(stage)

    def below(module: nn.Module, path: str) -> Iterator[str]:
        for name, child in module.named_children():
            here = f"{path}.{name}" if path else name
            run = runs.get(here)
            if run and run.node in main and run.output.shape[:1] == (1,) and not isinstance(child, nn.Identity):
                yield here
            if isinstance(child, CONTAINERS) or here in opened:
                yield from below(child, here)

    return list(below(model, ""))


def shorten(model: nn.Module, name: str, image_size: int) -> bool:
    """Take off, in place, every module that runs only after the module called ``name`` has finished.

    Returns whether that succeeded. The proof: what the shortened network returns is, bit for bit, what that module
    returned inside the whole one. Where it fails, for something is computed between the modules, the model is left
    as it was.
    """
    behind, expected = _run_after(model, name, image_size)
    undo = _undoing(model)
    for path in behind:
        parent = model.get_submodule(path.rpartition(".")[0])
        child = path.rpartition(".")[2]
        if isinstance(parent, CONTAINERS):
            delattr(parent, child)
        elif isinstance(parent.get_submodule(child), CONTAINERS):
            setattr(parent, child, nn.Sequential())  # may be looped over, which an Identity may not
        else:
            setattr(parent, child, nn.Identity())
    if same(expected, Reader(model), image_size):
        return True
    undo()
    return False


def _undoing(model: nn.Module) -> Callable[[], None]:
    children = {path: dict(module._modules) for path, module in model.named_modules()}

    def undo() -> None:
        for path, modules in children.items():
            parent = model.get_submodule(path)  # outer modules come back before the inner ones
            parent._modules.clear()
            parent._modules.update(modules)

    return undo


def _run_after(model: nn.Module, name: str, image_size: int) -> tuple[list[str], torch.Tensor]:
    """List the outermost modules that run only after ``name`` finished (or never), and what ``name`` returned."""
    ran, returned = _run_until(model, name, image_size)
    # A container that is looped over never runs itself: it stays as long as anything in it stays.
    kept = ran | {path[:i] for path in ran for i, c in enumerate(path) if c == "."} | {""}
    behind: list[str] = []
    for path, module in model.named_modules():
        inside = path.rpartition(".")[0] in kept
        # Inside what is kept, only modules on the main path go: a block's unused parts belong to the block.
        if path not in kept and inside and not _within(path, name, model) and not isinstance(module, nn.Identity):
            behind.append(path)
    return behind, returned


def _run_until(model: nn.Module, name: str, image_size: int) -> tuple[set[str], torch.Tensor]:
    """List the modules that started before ``name`` finished, and what it returned."""
    ran: set[str] = set()
    hooks = [
        module.register_forward_pre_hook(lambda _, __, path=path: ran.add(path))
        for path, module in model.named_modules()
    ]
    hooks.append(model.get_submodule(name).register_forward_hook(end_at))
    try:
        probe(Reader(model), image_size)
    except Reached as end:
        return ran, end.features
    finally:
        for hook in hooks:
            hook.remove()
    raise AssertionError(f"{name} did not run")


def _within(path: str, name: str, model: nn.Module) -> bool:
    """Whether ``path`` lies inside a module that ran to its end, whose inner parts are its own affair."""
    parent = path.rpartition(".")[0]
    ancestors = {name[:i] for i, c in enumerate(name) if c == "."} | {""}
    return parent not in ancestors and not isinstance(model.get_submodule(parent), nn.ModuleList)
