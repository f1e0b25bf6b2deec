"""From a config to a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tlx.config.groups import DigitsData, FolderData, LettersData, PatchesData
from tlx.data import open as opening
from tlx.data.open import open_source
from tlx.errors import InputError


@pytest.mark.parametrize(
    ("config", "name", "classes"),
    [
        (DigitsData(per_class=2), "digits/train/0", 10),
        (LettersData(script="greek", per_class=2, val_per_class=1, test_per_class=1), "greek/train/0", 38),
        (PatchesData(per_class=2, val_per_class=1, test_per_class=1), "patches/train/0", 14),
    ],
)
def test_built_in_sets_are_opened_once_and_kept_in_memory(config: Any, name: str, classes: int) -> None:
    source = open_source(config, 0)
    assert source is open_source(config, 0)  # a sweep draws each set once
    assert source is not open_source(config, 1)
    assert source.in_memory
    assert source.train.name(0) == name
    assert len(source.classes) == classes
    assert source.train.read(0).size == (48, 48)


def test_a_folder_is_opened(photos: Path) -> None:
    source = open_source(FolderData(root=str(photos)), 0)
    assert (source.classes, source.in_memory) == (("blue", "red"), False)


def test_more_digits_than_there_are_is_told() -> None:
    with pytest.raises(InputError, match=r"data\.per_class=500 is not between 1 and 143"):
        open_source(DigitsData(per_class=500), 0)


def test_missing_photographs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object) -> None:
        raise FileNotFoundError("skimage is not installed, so there is no skimage/data/cat.png")

    monkeypatch.setattr(opening, "_patches", missing)
    with pytest.raises(InputError, match=r"no skimage/data/cat\.png; install scikit-image"):
        open_source(PatchesData(), 0)
