"""Points: where a backbone can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


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


@dataclass(frozen=True)
class Description:
    """What a pass showed of a network that does not describe itself as timm's do (see custom.py).

    ``feature_info`` as timm has it, the paths at which it can be cut, and the path of its classifier; where it has
    none, ``lacking`` says why.
    """

    feature_info: list[dict[str, Any]]
    layers: list[str]
    classifier: str | None
    lacking: str


def description_of(model: nn.Module) -> Description | None:
    """Return the description of a network of the user's own; None for one that describes itself."""
    return getattr(model, "_tlx_description", None)


def stages(model: nn.Module) -> list[Stage]:
    """List the stages that a model announces, in its order: from the input on, branch by branch."""
    description = description_of(model)
    info: Any = description.feature_info if description else model.feature_info
    return [Stage(i, f["module"] or f"stage{i}", f["num_chs"], f["reduction"]) for i, f in enumerate(info)]
