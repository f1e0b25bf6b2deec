"""The worst mistakes: the most confident ones first, as the network saw them, each with what spoke for its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tlx.config import groups as g
from tlx.data.source import ArrayImages
from tlx.data.transforms import Prepare
from tlx.network import network as networks
from tlx.network.network import Network
from tlx.preprocessing import Preprocessing
from tlx.results.predictions import Predicted
from tlx.training import mistakes
from tlx.training.mistakes import MOST, keep_mistakes

COUNT, SIZE = 30, 64


@pytest.fixture(scope="module")
def network() -> Network:
    backbone, cut = g.TimmBackbone(name="test_resnet"), g.StageCut(stage=2)
    return networks.build(backbone, g.ScratchInit(), cut, g.TrunkFreeze(), g.LinearHead(), 3, 0, SIZE)[0].eval()


def images(size: int = SIZE) -> ArrayImages:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, size, size, 3), dtype=np.uint8)
    return ArrayImages("test", pixels, np.arange(COUNT) % 3)


def said(wrong: int) -> Predicted:
    """Predict rightly with certainty, but for the first ``wrong`` images, the later the surer; two of them alike."""
    labels = np.arange(COUNT) % 3
    predicted = np.where(np.arange(COUNT) < wrong, (labels + 1) % 3, labels)
    probability = np.where(np.arange(COUNT) < wrong, 0.4 + np.arange(COUNT) / 100, 1.0)
    if wrong > 1:
        probability[1] = probability[0]
    return Predicted([str(k) for k in range(COUNT)], labels, predicted, probability, 1 - probability)


def kept(folder: Path, network: Network, wrong: int, size: int = SIZE) -> dict[str, Any]:
    prepare = Prepare(Preprocessing(size, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))
    keep_mistakes(folder, network, images(size), prepare, said(wrong))
    found: dict[str, Any] = json.loads((folder / "mistakes.json").read_text())
    return found


@pytest.mark.parametrize("wrong", [1, 5, 20])
def test_the_surest_come_first_and_the_rest_is_counted(tmp_path: Path, network: Network, wrong: int) -> None:
    found = kept(tmp_path / "m", network, wrong)
    assert (found["wrong"], found["why_no_maps"]) == (wrong, "")
    order = sorted(range(wrong), key=lambda index: (-said(wrong).probability[index], index))
    assert [row["index"] for row in found["shown"]] == order[:MOST]
    assert [row["file"] for row in found["shown"]] == [f"{n + 1:02d}.png" for n in range(min(wrong, MOST))]


def test_pictures_are_what_the_network_saw_and_maps_lie_over_them(tmp_path: Path, network: Network) -> None:
    for row in kept(tmp_path / "m", network, 5)["shown"]:
        picture = np.asarray(Image.open(tmp_path / "m" / row["file"]))
        np.testing.assert_array_equal(picture, np.asarray(images().read(row["index"])))  # small ones without loss
        heat = np.asarray(Image.open(tmp_path / "m" / row["map"])).astype(int)
        assert heat.shape == picture.shape
        orange = heat[..., 0] - heat[..., 2]
        assert orange.max() > 50
        assert orange.min() < 0.5 * orange.max()  # and greyer elsewhere


def test_large_pictures_are_packed(tmp_path: Path, network: Network) -> None:
    (row,) = kept(tmp_path / "m", network, 1, 160)["shown"]
    assert row["file"] == "01.jpg"
    with Image.open(tmp_path / "m" / "01.jpg") as picture:
        assert picture.size == (160, 160)


def test_where_nothing_is_wrong_nothing_is_shown(tmp_path: Path, network: Network) -> None:
    assert kept(tmp_path / "m", network, 0) == {"wrong": 0, "why_no_maps": "", "shown": []}
    assert [file.name for file in (tmp_path / "m").iterdir()] == ["mistakes.json"]


@pytest.mark.parametrize("error", [RuntimeError("no gradient"), TypeError("x"), AssertionError()])
def test_a_network_that_gradients_cannot_pass_has_pictures_and_a_reason(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(mistakes, "activation_maps", broken)
    found = kept(tmp_path / "m", network, 3)
    assert "gradients do not pass" in found["why_no_maps"]
    assert [row["map"] for row in found["shown"]] == [None] * 3
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["01.png", "02.png", "03.png", "mistakes.json"]


def test_a_map_on_which_nothing_spoke_is_left_out(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: object, batch: torch.Tensor, __: object) -> torch.Tensor:
        maps = torch.zeros(len(batch), 4, 4)
        maps[0, 0, 0] = 1
        return maps

    monkeypatch.setattr(mistakes, "activation_maps", half)
    assert [row["map"] for row in kept(tmp_path / "m", network, 3)["shown"]] == ["map_01.png", None, None]
