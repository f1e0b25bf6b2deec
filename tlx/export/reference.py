"""Reference: what tlx itself says of an image, by Pillow and PyTorch in 32 bits, on the processor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from tlx.data.transforms import Prepare
from tlx.network.model_folder import Model


def reference(model: Model) -> Callable[[Image.Image], np.ndarray]:
    """Return how a model turns an image into probabilities (K,)."""
    prepare = Prepare(model.preprocessing)

    def probabilities(image: Image.Image) -> np.ndarray:
        with torch.inference_mode():
            logits = model.network(prepare(image)[None]).float()[0]
        found: np.ndarray = (logits / model.temperature).softmax(0).numpy()
        return found

    return probabilities
