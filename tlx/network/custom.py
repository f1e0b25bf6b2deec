"""Custom: a network of the user's own, imported by its name, and what a cut needs to know of it.

Nothing is asked of such a network but that it takes images (N, 3, S, S). One that has all of timm's methods is cut as
timm's are. Of any other, one forward pass shows a description:

- its layers: the modules on the main path, through which every way from the image to the output leads;
- its stages (``feature_info``): those of its top-level children that lie there, hold parameters, and return maps,
  tokens or a vector;
- its classifier: the last ``nn.Linear`` that ran, if a pass with an identity in its place proves that the network then
  returns just what went into it. ``cut=head`` takes it off; no other cut keeps it.

A cut at a layer leaves its code alone: the forward pass is ended from outside when the layer has finished, and
everything that the layer does not depend on is dropped.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from tlx.config.groups import CustomBackbone
from tlx.errors import InputError, TlxError, nearest
from tlx.network.layout import layout_of
from tlx.network.points import Description, description_of
from tlx.network.trace import ImageSizeError, main_path, probe, record
from tlx.network.unread import same

TIMMS_METHODS = (
    "feature_info", "forward_features", "forward_intermediates", "prune_intermediate_layers", "reset_classifier",
)  # fmt: skip
NO_NETWORK = "name a class, or a function that returns a module"


def build_custom(config: CustomBackbone, image_size: int) -> nn.Module:
    """Import the target, call it, and make what it returns ready to be cut.

    Raises:
        InputError: Names what is missing: a module, a name in it, a network, a forward pass on one image.
    """
    target = f"backbone.target={config.target}"
    make = _imported(config.target)
    kwargs = config.kwargs or {}
    if not isinstance(kwargs, Mapping):
        raise InputError(f"backbone.kwargs={kwargs} is no mapping", "write 'backbone.kwargs={KEY: VALUE}'")
    model = _attempted(lambda: make(**kwargs), f"{target} cannot be called with {dict(kwargs)}", "see backbone.kwargs")
    if not isinstance(model, nn.Module):
        what = f"{target} returned a {type(model).__name__}"
        raise InputError(what, "name a class derived from torch.nn.Module, or a function that returns such a module")
    if not all(hasattr(model, name) for name in TIMMS_METHODS):
        # What it may have under timm's names means something else: nothing is taken from there.
        vars(model)["_tlx_description"] = Description([], [], None, "")
        mend = f"it must take a batch of RGB images: (1, 3, {image_size}, {image_size}); see backbone.image_size"
        vars(model)["_tlx_description"] = _attempted(
            lambda: _described(model, image_size), f"{target} cannot be run", mend
        )
    return model


def named_by_user(own: object, folder: Path) -> CustomBackbone:
    """Return the backbone that the user named for a saved model that has one of their own.

    Raises:
        InputError: None was named.
    """
    if isinstance(own, CustomBackbone):
        return own
    what = f"the model in {folder} is a network of your own, and its files name no code"
    raise InputError(what, "name it: backbone.target=MODULE.CLASS (and backbone.kwargs={...} as in training)")


def without_classifier(model: nn.Module) -> None:
    """Replace the classifier of a network of the user's own by an identity, in place.

    Raises:
        InputError: It has none, or computes more behind it.
    """
    description = description_of(model)
    assert description is not None
    if description.classifier is None:
        raise InputError(description.lacking, f"cut at a layer: cut=layer cut.name= {nearest('', description.layers)}")
    _swap(model, description.classifier, nn.Identity())


def _described(model: nn.Module, image_size: int) -> Description:
    probe(model, image_size)  # lazy modules take their shapes from it
    runs, output, image = record(model, model, image_size)
    main = main_path(output, image)
    paths = list(runs)
    linears = [path for path in paths if isinstance(model.get_submodule(path), nn.Linear)]
    classifier, lacking = None, "this backbone runs no fully connected layer that could be taken off"
    if linears:
        lacking = f"behind its last fully connected layer, {linears[-1]}, this backbone computes more"
        classifier = linears[-1] if _ends_with(model, linears[-1], image_size) else None
    layers: list[str] = []
    stages: list[dict[str, Any]] = []
    for path in paths[: paths.index(classifier)] if classifier else paths:
        output = runs[path].output
        # Without a graph from the image to the output there is no main path to tell, and the user's word must do.
        if getattr(output, "shape", ())[:1] != (1,) or (main and runs[path].node not in main):
            continue
        if classifier and classifier.startswith(f"{path}."):
            continue
        layers.append(path)
        if "." not in path and any(True for _ in model.get_submodule(path).parameters()):
            stages += _stage(path, tuple(output.shape[1:]), model, image_size)
    return Description(stages, layers, classifier, lacking)


def _ends_with(model: nn.Module, path: str, image_size: int) -> bool:
    """Whether a network returns just what a layer returns: with an identity there, just what goes into it."""
    given: list[torch.Tensor] = []
    layer = model.get_submodule(path)
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    try:
        probe(model, image_size)
    finally:
        hook.remove()
    _swap(model, path, nn.Identity())
    try:
        return same(given[-1], model, image_size)
    finally:
        _swap(model, path, layer)


def _swap(model: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def _stage(path: str, shape: tuple[int, ...], model: nn.Module, image_size: int) -> list[dict[str, Any]]:
    """Announce a child as timm would; nothing where its layout cannot be told."""
    try:
        layout, _ = layout_of(shape, model, image_size)
    except InputError:
        return []
    side = {"NCHW": shape[-1], "NHWC": shape[0]}.get(layout, 1)
    channels = shape[0] if layout == "NCHW" else shape[-1]
    return [{"module": path, "num_chs": channels, "reduction": max(1, image_size // side)}]


def _imported(target: str) -> Callable[..., Any]:
    """Import as ``python -m`` would: from the current folder, PYTHONPATH and what is installed."""
    what = f"backbone.target={target}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target):
        raise InputError(f"{what} is no dotted name", "write MODULE.CLASS, such as my_package.MyNet")
    parts = target.split(".")
    if parts[0] in sys.stdlib_module_names:
        raise InputError(f"{what} is Python's own, and no network", NO_NETWORK)
    here = str(Path.cwd())
    if here not in sys.path and not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, here)
    lengths = range(len(parts) - 1, 0, -1)
    tried = ((length, _module(".".join(parts[:length]), what)) for length in lengths)
    length, module = next((one for one in tried if one[1] is not None), (0, None))
    if module is None:
        mend = f"it is looked for in {here}, in PYTHONPATH, and among what is installed"
        raise InputError(f"{what}: there is no module {parts[0]}", mend)
    found: Any = module
    for part in parts[length:]:
        if not hasattr(found, part):
            offered = [n for n in dir(found) if callable(getattr(found, n, None)) and not n.startswith("_")]
            raise InputError(f"{what}: {module.__name__} has no {part}", nearest(part, offered))
        found = getattr(found, part)
    if not callable(found) or isinstance(found, nn.Module):
        raise InputError(f"{what} is a {type(found).__name__}", NO_NETWORK)
    owner = str(getattr(found, "__module__", None) or "").partition(".")[0]
    theirs = owner in sys.stdlib_module_names and not isinstance(found, functools.partial)
    if theirs or (owner == "torch" and not (isinstance(found, type) and issubclass(found, nn.Module))):
        raise InputError(f"{what} is {found.__module__}'s, and no network", NO_NETWORK)
    return found


def _module(name: str, what: str) -> ModuleType | None:
    """Import a module; None where there is none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise InputError(f"{what}: {name} imports {error.name}, which is not there", "install it") from None
    except Exception as error:
        raise InputError(f"{what}: importing {name} failed: {_told(error)}", "mend it there") from None


def _attempted(run: Callable[[], Any], what: str, mend: str) -> Any:
    """Run code of the user's, and say in a line what it said and where."""
    try:
        return run()
    except ImageSizeError as error:
        raise InputError(f"{what}: {error.what}", mend) from None
    except TlxError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {_told(error)}", mend) from None


def _told(error: Exception) -> str:
    """Say what an error says, and where in the user's code it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not re.search(r"[/\\](site-packages|tlx|importlib)[/\\]|^<", f.filename)]
    reason = f"{type(error).__name__}: {(str(error) or 'no reason given').splitlines()[0]}"
    return f"{reason} ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else reason
