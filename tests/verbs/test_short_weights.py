"""Weights that end inside the cut: the error names the deepest cut that works, and that cut works."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
from safetensors.torch import save_file

from tests.conftest import TINY, Answer
from tests.verbs.test_own_backbone import CODE

Command = Callable[..., Answer]


def words_of(error: str) -> list[str]:
    """Take the cut that an error names."""
    found = re.search(r"the deepest cut that they reach: (cut=\S+ \S+)$", error.strip())
    assert found, error
    return found[1].split()


@pytest.mark.parametrize(
    ("behind", "cut"),
    [("layer3", ["cut=stage", "cut.stage=2"]), ("layer2.0.conv2", ["cut=stage", "cut.stage=1"])],
)
def test_the_cut_that_an_error_names_works(tlx: Command, tmp_path: Path, behind: str, cut: list[str]) -> None:
    weights = timm.create_model("test_resnet").state_dict()
    names = list(weights)
    end = next(i for i, name in enumerate(names) if name.startswith(behind))
    save_file({name: weights[name] for name in names[:end]}, tmp_path / "w.safetensors")
    words = ("inspect", "case=small_similar", *TINY, "init=pretrained", "init.file=w.safetensors")
    answer = tlx(*words)
    assert answer.code == 2
    assert words_of(answer.err) == cut
    assert tlx(*words, *cut).code == 0


def test_a_file_that_ends_inside_a_stage_names_a_layer(tlx: Command, tmp_path: Path) -> None:
    weights = timm.create_model("test_convnext").state_dict()
    deepest = "stages.1.blocks.0"
    kept = {n: t for n, t in weights.items() if n.startswith(("stem", "stages.0", "stages.1.downsample", deepest))}
    save_file(kept, tmp_path / "w.safetensors")
    words = (
        "inspect", "case=small_similar", "backbone=timm", "backbone.name=test_convnext", "init.file=w.safetensors",
        "trainer=cpu",
    )  # fmt: skip
    answer = tlx(*words)
    assert answer.code == 2
    named = words_of(answer.err)
    assert tlx(*words, *named).code == 0


def test_of_an_own_network_a_layer_is_named(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    words = ("backbone=custom", f"backbone.target={name}.MyNet", "backbone.image_size=16", "trainer=cpu")
    more = ("trainer.max_epochs=1", "data=digits", "data.per_class=4", "cut=layer", "cut.name=early")
    assert tlx("case=large_different", *words, *more, "hydra.run.dir=first").code == 0
    chained = ("inspect", "case=small_similar", *words)
    answer = tlx(*chained)
    assert answer.code == 2
    assert "no weights are known for " in answer.err
    assert "give init=scratch (random ones), init.file=PATH or init.run=FOLDER" in answer.err
    answer = tlx(*chained, "init.run=first")
    assert answer.code == 2
    assert "init.run=first (a network of your own, cut behind early) lacks weights" in answer.err
    assert words_of(answer.err) == ["cut=layer", "cut.name=early"]
    assert tlx(*chained, "init.run=first", "cut=layer", "cut.name=early").code == 0
