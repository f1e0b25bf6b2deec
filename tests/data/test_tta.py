"""Views at test time: the one of testing, or the centre and the corners."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlx.data.transforms import Prepare
from tlx.data.tta import Crops
from tlx.preprocessing import Preprocessing

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))


@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
@pytest.mark.parametrize("tta", ["none", "flip"])
def test_without_crops_the_view_is_that_of_testing(crop: float, tta: str) -> None:
    prepare = Prepare(Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bicubic", crop))
    crops = Crops(prepare, tta)
    (view,) = crops(PICTURE)
    assert view.tobytes() == prepare.sized(PICTURE).tobytes()
    assert (crops.least, crops.mirrored) == (prepare.least, tta == "flip")


@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_five_crops_differ_and_the_last_is_the_centre(crop: float) -> None:
    prepare = Prepare(Preprocessing(32, (0.5,) * 3, (0.5,) * 3, "bilinear", crop))
    crops = Crops(prepare, "crops")
    views = crops(PICTURE)
    assert len({view.tobytes() for view in views}) == crops.views == 5
    assert {view.size for view in views} == {(32, 32)}
    assert crops.side > 32
    if crop == 0.5:
        assert views[4].tobytes() == prepare.sized(PICTURE).tobytes()
