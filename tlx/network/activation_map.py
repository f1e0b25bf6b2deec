"""Activation maps: which parts of an image spoke for a class."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from tlx.errors import InputError
from tlx.network.depths import Depths
from tlx.network.layout import layout_of
from tlx.network.network import Network
from tlx.network.points import description_of
from tlx.network.trace import evaluating, read

PART = 4  # images at once: all that a forward pass computes is kept for the gradients


def activation_maps(network: Network, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return what in images (N, 3, S, S) spoke for ``classes`` (N,): maps (N, h, w) in [0, 1], as large as the trunk's.

    A place counts by its features times their gradients, where that is positive (HiResCAM; Draelos and Carin, 2020);
    where the head is linear in the mean of the features, that is what the place added to the logit (CAM; Zhou et al.,
    2016). Where the head reads a class token alone, the patches are looked at before they last speak to it.

    Raises:
        InputError: A network whose features have no places in the image, or whose head passes no gradients.
    """
    seen = _Seen(network)
    with evaluating(network), torch.enable_grad():
        spoken = _spoken(seen, seen.maps, images, classes)
        if seen.tokens and not _placed(seen, spoken).any() and (earlier := _last_attention(network.trunk.model)):
            spoken = _spoken(seen, earlier, images, classes)
    maps = _placed(seen, spoken).clamp_min(0)
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)


def _spoken(seen: _Seen, layer: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    from captum.attr import LayerGradientXActivation

    method = LayerGradientXActivation(seen, layer)
    pairs = zip(images.split(PART), classes.split(PART), strict=True)
    return torch.cat([method.attribute(some, target=wanted).detach().float() for some, wanted in pairs])


def _placed(seen: _Seen, spoken: torch.Tensor) -> torch.Tensor:
    """Sum what the channels say, and put tokens where they stand in the image: (N, h, w)."""
    if not seen.tokens:
        return spoken.sum(1 if seen.layout == "NCHW" else 3)
    patches = spoken[:, seen.prefix :].sum(2)
    side = math.isqrt(patches.shape[1])
    if side * side != patches.shape[1]:
        raise InputError("this backbone's tokens make up no square", "choose another cut")
    return patches.unflatten(1, (side, side))


def _last_attention(model: nn.Module) -> nn.Module | None:
    """Return what the last block of a transformer reads, where it can be told."""
    blocks = getattr(model, "blocks", None)
    last = blocks[-1] if isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks) else None
    found = getattr(last, "norm1", None)
    return found if isinstance(found, nn.Module) else None


class _Seen(nn.Module):
    """A network with a gradient through all of it; its features pass through ``maps``, where they can be read off."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.maps = nn.Identity()
        trunk = network.trunk
        if network.head.kind == "neighbours":
            raise InputError("votes of training images have no activation maps", "look at the images that voted")
        if isinstance(trunk, Depths):
            raise InputError("features of several depths have no common map", "choose one cut")
        self.pools = trunk.layout == "vector"  # the backbone itself, behind its maps
        if self.pools and description_of(trunk.model):
            raise InputError("this backbone pools its maps itself", "cut it before its pooling: cut=layer")
        self.layout, self.prefix = trunk.layout, trunk.prefix

    @property
    def tokens(self) -> bool:
        """Whether the features are tokens (N, L, D)."""
        return self.layout == "NLC"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        trunk: Any = self.network.trunk
        images = images.contiguous(memory_format=trunk.memory_format)
        if not self.pools:
            logits: torch.Tensor = self.network.head(self.maps(trunk(images)))
            return logits
        features = self.maps(read(trunk.model, images))
        self.layout, self.prefix = layout_of(tuple(features.shape[1:]), trunk.model, trunk.image_size)
        if self.layout == "vector":
            raise InputError("this backbone's features have no places in the image", "choose a cut before its end")
        pooled: torch.Tensor = self.network.head(trunk.model.forward_head(features))
        return pooled
