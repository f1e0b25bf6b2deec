"""Test-time augmentation: the views of an image whose probabilities are averaged."""

from __future__ import annotations

from PIL import Image
from torchvision.transforms import v2

from tlx.data.transforms import Prepare

AROUND = 0.875  # a crop's share of the side, if the network's own preprocessing crops less


class Crops:
    """Cuts the views out of an image: the centre as for testing, or with ``crops`` the centre and the four corners.

    What is mirrored is mirrored when it is a tensor: with ``flip`` each view counts once more as its mirror image, and
    with ``crops`` too, which makes ten of them (Krizhevsky et al., 2012).
    """

    def __init__(self, prepare: Prepare, tta: str) -> None:
        self.prepare = prepare
        self.five = tta == "crops"
        self.mirrored = tta in ("flip", "crops")
        self.side = max(prepare.side, round(prepare.image_size / AROUND))
        self.least = 2 * self.side if self.five else prepare.least
        self.views = 5 if self.five else 1

    def __call__(self, image: Image.Image) -> list[Image.Image]:
        """Return an image's views, each of the network's size."""
        if not self.five:
            return [self.prepare.sized(image)]
        resized = v2.functional.resize(image, [self.side], interpolation=self.prepare.mode)
        return list(v2.functional.five_crop(resized, [self.prepare.image_size]))
