"""tlx: declarative transfer learning on images."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlx.notebook import advise, load, train

__version__ = "0.1.0"
__all__ = ["__version__", "advise", "load", "train"]


def __getattr__(name: str) -> Any:
    """Import what a notebook uses when it is used: torch comes with it."""
    if name in __all__:
        return getattr(importlib.import_module("tlx.notebook"), name)
    raise AttributeError(f"module 'tlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
