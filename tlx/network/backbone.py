"""Backbones: timm architectures by name, networks of the user's own, and how their images are prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import timm
import timm.data
import timm.models
import torch
from torch import nn

from tlx.config.groups import CustomBackbone, TimmBackbone
from tlx.errors import InputError, TlxError, nearest
from tlx.network.custom import build_custom
from tlx.network.points import description_of, stages
from tlx.network.trace import ImageSizeError, probe
from tlx.preprocessing import Preprocessing

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
# These arguments of timm.create_model would load weights behind the back of `init`.
FORBIDDEN_KWARGS = ("pretrained", "checkpoint", "cache_dir", "scriptable", "exportable", "features_only")


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier, how its images are prepared, and its parameter count with the classifier."""

    model: nn.Module
    preprocessing: Preprocessing
    parameters: int


def create(config: TimmBackbone | CustomBackbone, image_size: int | None = None, drop_path: float = 0.0) -> Backbone:
    """Create a backbone with random weights, without its classifier (a network of the user's own loses it when cut).

    A backbone with a fixed input size is built for ``image_size`` (pixels) where that differs from its own.
    ``drop_path`` is the probability of leaving out its last block in training.

    Raises:
        InputError: An unknown name, arguments the backbone does not take, an input size it cannot take.
    """
    if isinstance(config, CustomBackbone):
        return _custom(config, image_size or config.image_size)
    kwargs, wanted = arguments(config, image_size), image_size or config.image_size
    if drop_path:
        if "drop_path_rate" in kwargs:
            raise InputError("regularizer.drop_path and backbone.kwargs.drop_path_rate are both given", "give one")
        kwargs["drop_path_rate"] = drop_path
    try:
        model = timm.create_model(config.name, pretrained=False, **kwargs)
    except TlxError:
        raise  # a signal
    except Exception as error:  # whatever a constructor may say of arguments that it does not take
        if drop_path and "drop_path_rate" in str(error):
            raise InputError(f"backbone {config.name} takes no drop path", "set regularizer.drop_path=0") from None
        what = f"timm cannot build {config.name} with {kwargs}: {_first_line(error)}"
        if "img_size" in kwargs and wanted:
            raise ImageSizeError(what, "check backbone.kwargs and data.image_size") from None
        raise InputError(what, "check backbone.kwargs and data.image_size") from None
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "reset_classifier"):
        raise InputError(f"backbone {config.name} offers no stages", "choose another timm model")
    parameters = sum(p.numel() for p in model.parameters())
    model.reset_classifier(0)
    settings = timm.data.resolve_model_data_config(model)
    preprocessing = Preprocessing(
        image_size=wanted or settings["input_size"][-1],
        mean=tuple(config.mean or settings["mean"]),
        std=tuple(config.std or settings["std"]),
        interpolation=config.interpolation or settings["interpolation"],
        crop=config.crop or settings["crop_pct"],
    )
    must_prepare(preprocessing)
    return Backbone(model, preprocessing, parameters)


def arguments(config: TimmBackbone, image_size: int | None = None) -> dict[str, Any]:
    """Return what timm's constructor is called with: the user's arguments, and an input size that is not its own.

    Raises:
        InputError: An unknown name, arguments that would load weights.
    """
    kwargs = _checked(config)
    wanted = image_size or config.image_size
    native = _pretrained_cfg(config.name)
    if wanted and native.get("fixed_input_size") and wanted != native["input_size"][-1]:
        kwargs["img_size"] = wanted
    return kwargs


def _custom(config: CustomBackbone, image_size: int) -> Backbone:
    preprocessing = Preprocessing(image_size, tuple(config.mean), tuple(config.std), config.interpolation, config.crop)
    must_prepare(preprocessing)
    model = build_custom(config, image_size)
    parameters = sum(p.numel() for p in model.parameters())
    if description_of(model) is None:  # it has timm's methods
        model.reset_classifier(0)  # type: ignore[operator]
    return Backbone(model, preprocessing, parameters)


def fitting(config: TimmBackbone, image_size: int) -> str:
    """Name the image size nearest to one that does not fit with which the backbone works, found by trying.

    Tried are multiples of its strides, some of them with a window in mind, then its own size; on skeletons without
    numbers, so that a large network takes no longer than a small one.
    """
    with torch.device("meta"):
        native = create(replace(config, image_size=None))
        own = native.preprocessing.image_size
        stride = max((stage.reduction for stage in stages(native.model)), default=1)
        steps = {stride * factor for factor in (1, 2, 4, 7, 8)}
        around = {image_size // step * step + step * up for step in steps for up in (0, 1)} - {0, image_size}
        for size in (*sorted(around, key=lambda size: (abs(size - image_size), size)), own):
            try:
                probe(create(config, size).model, size)
            except InputError:
                continue
            return f"data.image_size={size} works"
    return f"leave data.image_size=null for its own size, {own}"


def _checked(config: TimmBackbone) -> dict[str, Any]:
    architecture = config.name.split(".")[0]
    if not timm.is_model(architecture):
        known = timm.list_models()
        close = get_close_matches(architecture, known, n=3, cutoff=0.4) or known[:3]
        raise InputError(f"unknown backbone {config.name!r}", f"the nearest timm models: {', '.join(close)}")
    if architecture in (renamed := timm.models.get_deprecated_models()):
        mend = f"choose backbone.name={renamed[architecture]}" if renamed[architecture] else "choose another"
        raise InputError(f"timm no longer has a backbone {config.name!r}", mend)
    kwargs = config.kwargs or {}
    if not isinstance(kwargs, Mapping):
        raise InputError(f"backbone.kwargs={kwargs} is no mapping", "write 'backbone.kwargs={KEY: VALUE}'")
    for key in map(str, kwargs):
        if key.startswith(FORBIDDEN_KWARGS):
            raise InputError(f"backbone.kwargs.{key} is not allowed", "weights are chosen by init=...")
    if kwargs.get("in_chans", 3) != 3:
        raise InputError(
            f"backbone.kwargs.in_chans={kwargs['in_chans']} cannot be", "images are read as RGB: leave it out"
        )
    return {str(key): value for key, value in kwargs.items()}


def must_prepare(seen: Preprocessing) -> None:
    """Make sure that images can be prepared as it says.

    Raises:
        InputError: They cannot.
    """
    if len(seen.mean) != 3 or len(seen.std) != 3 or min(seen.std) <= 0:
        what = f"backbone.mean={list(seen.mean)} and backbone.std={list(seen.std)} do not normalise three channels"
        raise InputError(what, "give three numbers each, the deviations above 0")
    if seen.interpolation not in INTERPOLATIONS:
        raise InputError(
            f"backbone.interpolation={seen.interpolation} is not an option", nearest(seen.interpolation, INTERPOLATIONS)
        )


def _pretrained_cfg(name: str) -> dict[str, Any]:
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        architecture = name.split(".")[0]
        tags = timm.list_pretrained(f"{architecture}.*")
        raise InputError(f"unknown weights {name!r}", f"one of: {', '.join(tags)}") from None
    return config.to_dict() if config else {}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
