"""A program hands over paths, Pillow's images and arrays: all of one picture are the same image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlx.data.fault import BadImageError
from tlx.data.handed import handed
from tlx.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def test_every_form_of_a_picture_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    Image.fromarray(PIXELS).save(file)
    given = handed([str(file), file, PIXELS, Image.fromarray(PIXELS), Image.fromarray(PIXELS).convert("RGBA")])
    assert {given.read(index).tobytes() for index in range(5)} == {PIXELS.tobytes()}
    assert [given.name(index) for index in range(5)] == [str(file), str(file), "2", "3", "4"]


@pytest.mark.parametrize("one", [PIXELS, Image.fromarray(PIXELS)])
def test_one_image_needs_no_list(one: Any) -> None:
    assert len(handed(one)) == 1
    assert len(handed(np.stack([PIXELS, PIXELS]))) == 2  # a batch is several


def test_one_path_is_what_the_command_line_takes(tmp_path: Path) -> None:
    for name in "ba":
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")
    assert [handed(tmp_path).name(index) for index in range(2)] == ["a.png", "b.png"]
    assert len(handed(str(tmp_path / "*.png"))) == 2
    with pytest.raises(InputError, match="does not exist"):
        handed(tmp_path / "c.png")
    with pytest.raises(BadImageError, match="is gone"):
        handed([tmp_path / "c.png"]).read(0)


@pytest.mark.parametrize(
    "wrong", [3, None, PIXELS.astype(np.float32) / 255, PIXELS[..., 0], PIXELS.transpose(2, 0, 1), PIXELS[:0]]
)
def test_what_is_no_image_is_refused_by_its_number(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"image 1 is a.*; give .*arrays \(H, W, 3\) uint8"):
        handed([PIXELS, wrong])
