"""``pretrain`` writes weights that a later transfer starts from, and the recipe beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch

from tests.conftest import TINY, Answer, runs_of
from tlx.storage import read_tensors

Command = Callable[..., Answer]
SMALL = ("data.per_class=6", "data.val_per_class=2", "data.test_per_class=2", "trainer.max_epochs=1")


def test_pretrain_then_transfer(tlx: Command, tmp_path: Path) -> None:
    answer = tlx("pretrain", *TINY, *SMALL, "output=trunk.safetensors")
    assert answer.code == 0, answer.err
    recipe = json.loads((tmp_path / "trunk.json").read_text())
    assert recipe["config"]["data"]["script"] == "latin"
    assert str(tmp_path) not in (tmp_path / "trunk.json").read_text()
    transfer = ("init=pretrained", "init.file=trunk.safetensors")
    assert tlx("case=small_similar", *TINY, *transfer, "hydra.run.dir=run").code == 0
    given, kept = read_tensors(tmp_path / "trunk.safetensors"), read_tensors(tmp_path / "run/model/weights.safetensors")
    assert all(torch.equal(given[name], kept[f"trunk.model.{name}"]) for name in given)


def test_pretrain_wants_an_output(tlx: Command, tmp_path: Path) -> None:
    for words in ((), ("output=weights.bin",), ("output=nowhere/weights.safetensors",)):
        answer = tlx("pretrain", *TINY, *SMALL, *words)
        assert answer.code == 2
        assert "output" in answer.err
    assert not any((folder / "model").exists() for folder in runs_of(tmp_path))


def test_the_shipped_weights_are_small_and_their_recipe_is_the_shipped_config(tlx: Command) -> None:
    assets = files("tlx") / "assets"
    assert len((assets / "embedded.safetensors").read_bytes()) <= 3_000_000
    recipe = json.loads((assets / "embedded.json").read_text())
    composed = tlx("pretrain", "output=x.safetensors", "--cfg", "job").out
    assert f"name: {recipe['backbone']}" in composed
    assert f"lr: {recipe['config']['optimizer']['lr']}" in composed
    assert f"max_epochs: {recipe['config']['trainer']['max_epochs']}" in composed
    assert recipe["metrics"]["test"]["accuracy"] > 0.8
