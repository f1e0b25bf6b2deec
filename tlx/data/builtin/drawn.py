"""What every built-in set returns, and the one image size they share."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE: Final = 48
"""Height and width of every built-in image, in pixels."""

SPLITS: Final = ("train", "val", "test")


class Drawn(NamedTuple):
    """A labelled image set in memory; `labels` index `classes`.

    Both dictionaries have the keys of `SPLITS`; images are uint8 (N, SIZE, SIZE, 3), labels int64 (N,).
    """

    classes: tuple[str, ...]
    images: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]
