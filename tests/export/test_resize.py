"""The resizing inside an export is Pillow's, level by level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlx.data.transforms import Prepare
from tlx.export import resize
from tlx.export.resize import Resize
from tlx.network.backbone import INTERPOLATIONS
from tlx.preprocessing import Preprocessing


def pillows(pixels: np.ndarray, size: int, crop: float, how: str) -> np.ndarray:
    prepare = Prepare(Preprocessing(size, (0.0,) * 3, (1.0,) * 3, how, crop))
    return np.asarray(prepare.sized(Image.fromarray(pixels)))


def ours(pixels: np.ndarray, size: int, crop: float, how: str) -> np.ndarray:
    module = Resize(size, round(size / crop), how)
    return module(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0).numpy()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    size=st.integers(1, 64),
    crop=st.sampled_from([1.0, 0.95, 0.9, 0.875, 0.5, 1.3]),
    how=st.sampled_from([name for name in INTERPOLATIONS if name != "nearest"]),
    seed=st.integers(0, 9),
)
@example(height=400, width=133, size=32, crop=0.875, how="bicubic", seed=0)  # height first
@example(height=133, width=400, size=32, crop=0.875, how="lanczos", seed=0)
@example(height=1, width=1, size=8, crop=1.0, how="bicubic", seed=0)
@example(height=64, width=64, size=64, crop=1.0, how="bilinear", seed=0)
def test_it_is_pillows_own(height: int, width: int, size: int, crop: float, how: str, seed: int) -> None:
    pixels = noise(height, width, seed)
    assert np.array_equal(ours(pixels, size, crop, how), pillows(pixels, size, crop, how))


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.integers(1, 64))
def test_nearest_neighbours_are_pillows_but_for_ties(height: int, width: int, size: int) -> None:
    """Pillow adds places up in floating point, so that one just between two pixels may fall to either."""
    short = min(height, width)
    between = []
    for side in (height, width):
        new = size * side // short
        at = np.arange(size) + round((new - size) / 2)
        between.append(((2 * at + 1) * side) % (2 * new) == 0)
    pixels = noise(height, width)
    differs = (ours(pixels, size, 1.0, "nearest") != pillows(pixels, size, 1.0, "nearest")).any(2)
    assert not differs[np.ix_(~between[0], ~between[1])].any()


def test_the_order_of_the_passes_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(300, 100)
    expected = pillows(pixels, 32, 0.875, "bicubic")
    assert np.array_equal(ours(pixels, 32, 0.875, "bicubic"), expected)
    other = {2.0: 100.0, 100.0: 2.0}[resize.tall()]
    monkeypatch.setattr(resize, "tall", lambda: other)
    assert not np.array_equal(ours(pixels, 32, 0.875, "bicubic"), expected)
