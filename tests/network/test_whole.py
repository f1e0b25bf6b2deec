"""A whole timm model is prepared as in tlx (that it computes the same: tests/export/test_formats.py)."""

from __future__ import annotations

from math import floor

from hypothesis import given
from hypothesis import strategies as st

from tlx.network.whole import _share
from tlx.preprocessing import Preprocessing


@given(size=st.integers(1, 600), crop=st.floats(0.1, 1.0))
def test_timm_resizes_to_the_same_side(size: int, crop: float) -> None:
    """It rounds down what tlx rounds to the nearest."""
    share = _share(Preprocessing(size, (0.5,) * 3, (0.5,) * 3, "bicubic", crop))
    assert floor(size / share) == round(size / crop)
