"""``format=torch_export``: a ``model.pt2`` that torch alone runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tlx.export.from_pixels import FromPixels
from tlx.export.graph import captured, quiet, takes
from tlx.export.subject import Subject
from tlx.storage import write

FILE = "model.pt2"


def write_to(folder: Path, subject: Subject) -> str:
    """Write the program, class names and all beside it in the same file."""
    program = captured(FromPixels(subject.model))
    facts = subject.facts()
    extra = {f"{name}.json": text for name, text in facts.items() if name != "tlx"}
    with quiet():
        write(folder / FILE, lambda file: torch.export.save(program, file, extra_files=extra))
    return takes(program)


def read_from(folder: Path, _: Subject) -> Callable[[Image.Image], np.ndarray]:
    """Return how the file turns an image into probabilities (K,)."""
    with quiet():
        module = torch.export.load(folder / FILE).module()

    def probabilities(image: Image.Image) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = module(torch.from_numpy(np.array(image))[None])[0].numpy()
        return found

    return probabilities
