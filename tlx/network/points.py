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


def stages(model: nn.Module) -> list[Stage]:
    """List the stages that timm announces for a model, in its order: from the input on, branch by branch."""
    info: Any = model.feature_info
    return [Stage(i, f["module"] or f"stage{i}", f["num_chs"], f["reduction"]) for i, f in enumerate(info)]
