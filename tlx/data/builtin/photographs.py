"""The photographs that come with scikit-image and scikit-learn, in grey, each about as tall or wide as the others."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHORT_SIDE: Final = 480  # pixels; the originals have 300 to 1411
# Those that lie in the packages themselves; scikit-image would download others. Without page and text: letters again.
_FILES: Final = {
    "astronaut": "skimage/data/astronaut.png",
    "brick": "skimage/data/brick.png",
    "camera": "skimage/data/camera.png",
    "cat": "skimage/data/chelsea.png",
    "coffee": "skimage/data/coffee.png",
    "coins": "skimage/data/coins.png",
    "flower": "sklearn/datasets/images/flower.jpg",
    "galaxies": "skimage/data/hubble_deep_field.jpg",
    "grass": "skimage/data/grass.png",
    "gravel": "skimage/data/gravel.png",
    "motorcycle": "skimage/data/motorcycle_left.png",
    "retina": "skimage/data/retina.jpg",
    "temple": "sklearn/datasets/images/china.jpg",
    "tissue": "skimage/data/ihc.png",
}


def photographs() -> dict[str, NDArray[np.float32]]:
    """Name to grey levels 0..255, (H, W) with the shorter side of 480 pixels.

    Raises:
        FileNotFoundError: when a package no longer holds its photograph.
    """
    return {name: _read(file) for name, file in _FILES.items()}


def _read(file: str) -> NDArray[np.float32]:
    package, _, place = file.partition("/")
    spec = find_spec(package)  # finds the folder without the import, which takes seconds
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{package} is not installed, so there is no {file}")
    with Image.open(Path(spec.submodule_search_locations[0], place)) as image:
        grey = image.convert("L")
    scale = _SHORT_SIDE / min(grey.size)
    width, height = (round(side * scale) for side in grey.size)
    return np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS), np.float32)
