"""Subject: what is exported, and what every format needs to know of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tlx import __version__
from tlx.config.groups import CustomBackbone, TimmBackbone
from tlx.network.model_folder import Model


class Subject(NamedTuple):
    """A run's model, the folder it was read from, and the backbone that it was made of."""

    model: Model
    folder: Path
    backbone: TimmBackbone | CustomBackbone

    def facts(self) -> dict[str, str]:
        """Return what stands inside an export beside its weights, as texts; all but ``tlx`` are JSON."""
        plain: dict[str, Any] = {
            "classes": self.model.classes,
            "temperature": self.model.temperature,
            "preprocessing": asdict(self.model.preprocessing),
        }
        return {**{name: json.dumps(value) for name, value in plain.items()}, "tlx": __version__}
