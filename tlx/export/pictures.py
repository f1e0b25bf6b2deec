"""Pictures: the real images on which an export is compared with what it was made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from tlx.config.roots import TrainConfig
from tlx.data.builtin.photographs import photographs
from tlx.data.open import open_source
from tlx.data.scan.looks import Progress
from tlx.errors import TlxError

MOST = 64


class Pictures(NamedTuple):
    """Images in RGB, what they are, and a remark where they are not what they should be."""

    images: list[Image.Image]
    which: str
    remark: str = ""


def pictures(settings: TrainConfig, least: int, progress: Progress) -> Pictures:
    """Read up to 64 of a run's own test images, spread over all of them; where they are gone, photographs."""
    try:
        test = open_source(settings.data, settings.seed, progress=progress).test
        count = len(test.labels)
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))
        return Pictures([test.read(int(index), least) for index in chosen], "test images")
    except TlxError as error:
        known = [np.asarray(grey) for grey in photographs().values()]
        images = [Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB") for grey in known]
        remark = f"the run's own test images cannot be read ({error.what}): photographs of scikit-image in their place"
        return Pictures(images, "photographs of scikit-image", remark)
