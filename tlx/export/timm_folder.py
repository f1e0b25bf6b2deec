"""``format=timm``: a folder that plain timm loads, ``timm.create_model("local-dir:FOLDER", pretrained=True)``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tlx.config.groups import TimmBackbone
from tlx.export.subject import Subject
from tlx.network.whole import described, logits_of, whole
from tlx.storage import write_json, write_tensors


def write_to(folder: Path, subject: Subject) -> str:
    """Write the weights under timm's names, and ``config.json`` as timm's hub has it.

    The logits are those of tlx: the temperature is not folded into the classifier, but told.
    """
    network, seen, classes, temperature = subject.model
    model = whole(network, subject.backbone, seen.image_size)
    assert isinstance(subject.backbone, TimmBackbone)
    write_json(folder / "config.json", described(model, subject.backbone, seen, classes, temperature))
    write_tensors(folder / "model.safetensors", model.state_dict(), {"format": "pt"})
    return "logits as in tlx; probabilities are softmax(logits / temperature)"


def read_from(folder: Path, subject: Subject) -> Callable[[Image.Image], np.ndarray]:
    """Return how plain timm turns an image into probabilities (K,)."""
    logits = logits_of(folder)

    def probabilities(image: Image.Image) -> np.ndarray:
        found: np.ndarray = (logits(image) / subject.model.temperature).softmax(0).numpy()
        return found

    return probabilities
