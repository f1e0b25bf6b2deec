"""Depths: a backbone that is read at several places in one forward pass, as far as its weights reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tlx.errors import InputError
from tlx.network.cut import Point, Trunk, probe
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
        return self(images.contiguous(memory_format=self.memory_format))

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
