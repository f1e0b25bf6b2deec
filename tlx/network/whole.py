"""Whole: a run's network as one plain timm model, its classifier in the place where timm has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, nextafter
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from PIL import Image
from torch import nn

from tlx.config.groups import CustomBackbone, TimmBackbone
from tlx.errors import InputError
from tlx.network.backbone import arguments
from tlx.network.network import Network
from tlx.network.trace import probe
from tlx.preprocessing import Preprocessing

CLOSE = 1e-4  # of the largest logit: sums in another order


def whole(network: Network, backbone: TimmBackbone | CustomBackbone, image_size: int) -> nn.Module:
    """Build timm's own model of as many classes, with the network's weights; prove that it returns the same logits.

    Raises:
        InputError: The network is no whole timm model: cut before its end, or with another head or pooling.
    """
    point, head = network.trunk.point, network.head
    if isinstance(backbone, CustomBackbone):
        raise _not_whole("its backbone is a network of your own")
    if point.kind != "head":
        raise _not_whole(f"it was cut behind {point.name}")
    if head.kind != "linear":
        raise _not_whole(f"its head is {head.kind}, where timm has one fully connected layer")
    if head.pool.kind != "auto":
        raise _not_whole(f"it has its own pooling, head.pool={head.pool.kind}")
    kwargs = _arguments(backbone, image_size)
    model: Any = timm.create_model(backbone.name, pretrained=False, num_classes=head.num_classes, **kwargs).eval()
    unknown = model.load_state_dict(network.trunk.model.state_dict(), strict=False).unexpected_keys
    classifier = model.get_classifier()
    if unknown or not isinstance(classifier, nn.Linear | nn.Conv2d) or classifier.bias is None:
        raise _not_whole(f"{backbone.name} has no single fully connected layer at its end")
    with torch.no_grad():
        classifier.weight.copy_(head.linear.weight.reshape(classifier.weight.shape))
        classifier.bias.copy_(head.linear.bias)
    if not _equal(probe(network, image_size), probe(model, image_size)):
        raise _not_whole(f"{backbone.name} computes more between its features and its classifier")
    whole_model: nn.Module = model
    return whole_model


def described(
    model: Any, backbone: TimmBackbone, seen: Preprocessing, classes: Sequence[str], temperature: float
) -> dict[str, Any]:
    """Describe a whole model as the ``config.json`` of timm's folders does; timm passes over the temperature."""
    own = model.pretrained_cfg or {}
    kwargs = _arguments(backbone, seen.image_size)
    return {
        "architecture": backbone.name.split(".")[0],
        "num_classes": len(classes),
        "num_features": model.num_features,
        "label_names": list(classes),
        **({"model_args": kwargs} if kwargs else {}),
        "temperature": temperature,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, seen.image_size, seen.image_size],
            "fixed_input_size": bool(own.get("fixed_input_size")),
            "interpolation": seen.interpolation,
            "crop_pct": _share(seen),
            "crop_mode": "center",
            "mean": list(seen.mean),
            "std": list(seen.std),
            "num_classes": len(classes),
            "first_conv": own.get("first_conv"),
            "classifier": own.get("classifier"),
        },
    }


def logits_of(folder: Path) -> Callable[[Image.Image], torch.Tensor]:
    """Load a folder by plain timm alone; return how timm turns an image into logits (K,)."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)

    def logits(image: Image.Image) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = model(prepare(image)[None])[0]
        return found

    return logits


def _arguments(backbone: TimmBackbone, image_size: int) -> dict[str, Any]:
    """Return the constructor's arguments but for the number of classes, which may be that of the pretrained weights."""
    return {key: value for key, value in arguments(backbone, image_size).items() if key != "num_classes"}


def _share(seen: Preprocessing) -> float:
    """Return the share that timm's rule turns into the same side before the crop: it rounds down, tlx to the nearest.

    See ``Preprocessing``.
    """
    side = round(seen.image_size / seen.crop)
    share = seen.crop if floor(seen.image_size / seen.crop) == side else seen.image_size / side
    while floor(seen.image_size / share) < side:
        share = nextafter(share, 0.0)
    return share


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    largest = float(one.abs().max().clamp_min(1.0))
    return one.shape == other.shape and float((one - other).abs().max()) <= CLOSE * largest


def _not_whole(why: str) -> InputError:
    what = f"this run's network is no whole timm model: {why}"
    return InputError(what, "choose format=onnx or format=torch_export, or format=safetensors to go on in tlx")
