"""A run keeps what it said of every validation and test image, and the temperature at which it is as sure as right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY, Answer, runs_of
from tlx.network import model_folder
from tlx.results import predictions
from tlx.results.run_folder import RunFolder

Command = Callable[..., Answer]


@pytest.mark.parametrize("words", [("case=small_similar",), ("case=large_similar", "trainer.max_epochs=2")])
def test_predictions_and_temperature_are_those_of_the_result(
    tlx: Command, photos: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert tlx(*words, *TINY, "data=folder", f"data.root={photos}", "data.batch_size=8").code == 0
    folder = RunFolder(runs_of(tmp_path)[0])
    result = json.loads(folder.result.read_text())
    said = predictions.read(folder.predictions, result["classes"])
    assert list(said) == ["val", "test"]
    for split, one in said.items():
        measured = result["metrics"][split]
        assert len(one.names) == result["images"][split]
        assert one.right.mean() == pytest.approx(measured["accuracy"], abs=1e-6)
        assert all((photos / "train" / name).exists() or (photos / name).exists() for name in one.names)
    scaled = result["temperature"]
    assert scaled["val"].keys() == scaled["test"].keys() == {"loss", "calibration_error"}
    mean = -np.log(said["test"].label_probability).mean()
    assert mean == pytest.approx(scaled["test"]["loss"], abs=1e-4)
    model = model_folder.load(folder.model)
    assert model.temperature == scaled["value"] > 0
    assert model.classes == result["classes"]


def test_a_model_from_before_temperatures_has_one_of_1(tlx: Command, photos: Path, tmp_path: Path) -> None:
    assert tlx("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "data.batch_size=8").code == 0
    folder = runs_of(tmp_path)[0]
    file = folder / "model" / "network.json"
    plain = json.loads(file.read_text())
    del plain["temperature"]
    file.write_text(json.dumps({**plain, "format": 2}))
    assert model_folder.load(folder / "model").temperature == 1.0
