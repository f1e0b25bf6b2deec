"""The dataclasses of the group ``freeze``: which parameters train in which epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlx.config.fields import number

__all__ = [
    "LoraFreeze",
    "NoFreeze",
    "TrunkFreeze",
]


@dataclass
class TrunkFreeze:
    """Freeze every kept weight and buffer; only the head trains."""

    kind: str = "trunk"


@dataclass
class NoFreeze:
    """Train everything."""

    kind: str = "none"


@dataclass
class LoraFreeze:
    """Low-rank adapters (Hu et al., 2021) of rank ``rank``, scaled by ``alpha`` / ``rank``, and the head train.

    Adapted are the linear layers and convolutions in whose path (such as ``blocks.0.attn.qkv``) one of the regular
    expressions ``pattern`` is found.
    """

    kind: str = "lora"
    rank: int = number(8, low=1)
    alpha: float = number(16.0, above=0)
    pattern: list[str] = field(default_factory=lambda: [".*"])
