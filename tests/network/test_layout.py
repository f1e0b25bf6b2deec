"""Layouts: told from the shape where a square image settles it, else from what the model says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tlx.errors import InputError
from tlx.network.layout import layout_of


def model(*widths: int, reduction: int = 16, **more: Any) -> Any:
    return SimpleNamespace(feature_info=[{"module": "", "num_chs": w, "reduction": reduction} for w in widths], **more)


@pytest.mark.parametrize(
    ("shape", "told", "layout"),
    [
        ((512,), model(), "vector"),
        ((64, 8, 8), model(), "NCHW"),
        ((8, 8, 64), model(), "NHWC"),
        ((8, 8, 64), model(8), "NHWC"),  # eight channels are announced elsewhere; a square image has square maps
        ((16, 16, 16), model(), "NCHW"),
        ((16, 16, 16), model(output_fmt="NHWC"), "NHWC"),
        ((4, 9, 96), model(96), "NHWC"),  # windows by places in them: both are averaged over
        ((96, 4, 9), model(96), "NCHW"),
        ((16, 192), model(192), "NLC"),
        ((192, 192), model(192), "NLC"),
    ],
)
def test_layouts(shape: tuple[int, ...], told: Any, layout: str) -> None:
    assert layout_of(shape, told, 64)[0] == layout


@pytest.mark.parametrize(
    ("tokens", "told", "prefix"),
    [
        (17, model(8, num_prefix_tokens=1), 1),
        (16, model(8, num_prefix_tokens=1), 0),  # the class token comes later
        (17, model(8), 1),  # or is not announced
        (18, model(8, num_prefix_tokens=2), 2),
        (21, model(8, num_prefix_tokens=5), 5),
        (16, model(8), 0),
        (49, model(8, num_prefix_tokens=1), 1),  # tokens that make up no announced map: the model is believed
    ],
)
def test_prefixes(tokens: int, told: Any, prefix: int) -> None:
    assert layout_of((tokens, 8), told, 64) == ("NLC", prefix)


@pytest.mark.parametrize("shape", [(), (2, 3, 4, 5), (4, 9, 96), (192, 16)])
def test_what_is_neither_maps_nor_tokens_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="neither maps nor tokens; choose a stage"):
        layout_of(shape, model(192), 64)
