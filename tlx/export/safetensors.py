"""``format=safetensors``: the run's model folder, weights and plain JSON, which tlx loads again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tlx.export.reference import reference
from tlx.export.subject import Subject
from tlx.network import model_folder
from tlx.storage import write_bytes

FILES = ("network.json", "weights.safetensors")


def write_to(folder: Path, subject: Subject) -> str:
    """Copy the model folder, which has just been read."""
    for name in FILES:
        write_bytes(folder / name, (subject.folder / name).read_bytes())
    return "tensors by name, and the network described in plain JSON"


def read_from(folder: Path, subject: Subject) -> Callable[[Image.Image], np.ndarray]:
    """Return how tlx turns an image into probabilities (K,) after reading the folder again."""
    return reference(model_folder.load(folder, subject.backbone))
