"""How many images pass at once: by the largest activation, and with the same numbers as all of them together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tlx.network import cache_size
from tlx.network.cache_size import fitting
from tlx.network.inference import by_parts


class Wide(nn.Module):
    """Its largest activation has 8 * 4 * 16 * 16 bytes for an image of 16 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 1)
        self.narrow = nn.Conv2d(8, 2, 1)
        self.passed: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passed.append(len(images))
        features: torch.Tensor = self.narrow(self.wide(images)).mean((2, 3))
        return features


@pytest.mark.parametrize(("cache", "most"), [(2 * 8192 * 8, 8), (2 * 8192 * 5, 4), (2 * 8192 * 6, 8), (100, 1)])
def test_half_the_cache_holds_the_largest_activations(cache: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_size, "_cache_bytes", lambda: cache)
    assert fitting(Wide(), torch.zeros(40, 3, 16, 16)) == most


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_size, "_cache_bytes", lambda: 2 * 8192 * 4)
    network, images = Wide(), torch.randn(11, 3, 16, 16)
    with torch.no_grad():
        whole = network(images)
        network.passed.clear()
        parts = by_parts(network, network, images)
    torch.testing.assert_close(parts, whole)
    assert network.passed == [1, 4, 4, 3]  # the first image is looked at once
    network.passed.clear()
    by_parts(network, network, images)
    assert network.passed == [4, 4, 3]


def test_the_systems_own_figure_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, size in enumerate(("48K", "2048K", "32M")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    monkeypatch.setattr(cache_size, "CACHES", tmp_path)
    assert cache_size._cache_bytes.__wrapped__() == 32 * 2**20
    monkeypatch.setattr(cache_size, "CACHES", tmp_path / "none")
    assert cache_size._cache_bytes.__wrapped__() == cache_size.USUAL
