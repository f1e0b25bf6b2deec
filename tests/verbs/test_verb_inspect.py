"""``inspect`` shows the surgery that ``train`` does, and does none of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Answer, runs_of

Command = Callable[..., Answer]


def test_inspect_shows_stages_fates_and_cuts_and_writes_nothing(tlx: Command, tmp_path: Path) -> None:
    answer = tlx("inspect", "case=small_different", *TINY, "cut=layer", "cut.name=layer2")
    assert answer.code == 0, answer.err
    rows = [line.split() for line in answer.out.splitlines()]
    table = {row[1]: " ".join(row) for row in rows if row and row[0].isdigit()}
    assert list(table) == ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert all("kept, frozen" in table[name] for name in ("act1", "layer1", "layer2"))
    assert all("cut away" in table[name] for name in ("layer3", "layer4"))
    assert "new, trained" in answer.out
    assert "cut=layer cut.name=" in answer.out
    assert "layer3.0" in answer.out
    assert not runs_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_inspect_counts_what_train_counts(tlx: Command, tmp_path: Path) -> None:
    from tlx.results.console import amount

    words = ("case=small_different", *TINY)
    answer = tlx("inspect", *words)
    assert tlx(*words).code == 0
    parameters = json.loads((runs_of(tmp_path)[0] / "result.json").read_text())["parameters"]
    kept = next(text for text in answer.out.splitlines() if text.startswith("kept"))
    assert amount(parameters["kept"]) in kept
    (plan,) = (text for text in answer.out.splitlines() if text.startswith("train ") and "the new layer" in text)
    assert f" {amount(parameters['trained'])} " in plan
    assert f" {amount(parameters['frozen'])} " in plan
    assert f"{amount(parameters['dropped'])} dropped" in answer.out


def test_inspect_names_a_cut_inside_a_stage(tlx: Command) -> None:
    words = ("backbone.name=test_convnext", "cut=layer", "cut.name=stages.1.blocks.0")
    answer = tlx("inspect", "case=small_different", *TINY, *words)
    assert answer.code == 0, answer.err
    assert "stages.1.blocks.0" in answer.out
    (row,) = (line for line in answer.out.splitlines() if "cut inside, at stages.1.blocks.0" in line)
    kept = next(line.split()[1:3] for line in answer.out.splitlines() if line.startswith("kept "))
    assert " ".join(kept).removesuffix(" parameters") in row  # what is kept of it, not the whole stage


def test_inspect_names_the_head_its_pooling_and_why_it_is_not_solved(tlx: Command) -> None:
    def lines(*words: str) -> dict[str, str]:
        answer = tlx("inspect", "case=small_similar", *TINY, "backbone.image_size=64", *words)
        assert answer.code == 0, answer.err
        return {line.split(" ")[0]: line for line in answer.out.splitlines() if line[:1].isalpha()}

    solved = lines("head.pool=max")
    assert solved["training"].endswith("the new layer alone, by lbfgs on features computed once")
    assert solved["cut"].endswith("but the pooling and the classifier, (96, 2, 2) features, 96 after max pooling")
    assert "method" not in solved
    mlp = lines("head=mlp")
    assert "the new head alone, for" in mlp["training"]
    assert mlp["cut"].endswith("but the classifier, (96,) features, 96 after pooling")
    assert mlp["method"].endswith("gradient descent on features computed once, for solver=lbfgs takes head=linear")
    awake = lines("head=cosine", "freeze=none")
    assert "method" not in awake
    assert awake["training"].endswith("the whole network, for 30 epochs")


def test_inspect_says_which_point_a_depth_means(tlx: Command) -> None:
    answer = tlx("inspect", "case=small_similar", *TINY, "cut=depth", "cut.keep=0.4")
    assert answer.code == 0, answer.err
    assert "behind stage layer1" in answer.out
    assert "cut=depth" in answer.out


STAGES = r"0 \(act1\), 1 \(layer1\), 2 \(layer2\), 3 \(layer3\), 4 \(layer4\)"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cut=stage", "cut.stage=-1"), f"cut.stage=-1 does not exist; one of: {STAGES}"),
        (("cut=stage", "cut.stage=99"), f"cut.stage=99 does not exist; one of: {STAGES}"),
        (("cut=stage", "cut.stage=foo"), f"cut.stage=foo does not exist; one of: {STAGES}"),
        (("cut=stage",), "cut.stage is missing; give it: cut.stage="),
        (
            ("cut=layer", "cut.name=fc"),
            "cut.name=fc holds the classifier, behind the last layer; take it off: cut=head",
        ),
        (
            ("backbone.name=test_convnext", "cut=layer", "cut.name=head"),
            "cut.name=head holds the classifier, behind the last layer; take it off: cut=head",
        ),
        (("cut=layer", "cut.name=nope"), "cut.name=nope does not exist; one of: conv1, conv1.0"),
        (
            ("cut=layer", "cut.name=layer2.0.conv1"),
            "cut.name=layer2.0.conv1 is not on the .* main path; .* one of: conv1",
        ),
        (("cut=depth", "cut.keep=0"), "cut.keep=0.0 is out of range; it must be above 0 and at most 1"),
        (("cut=depth", "cut.keep=1.01"), "cut.keep=1.01 is out of range; it must be above 0 and at most 1"),
        (("cut=depth", "cut.keep=half"), "cut.keep='half' has the wrong type; it takes a number"),
        (
            ("backbone.name=test_vit", "data.image_size=100"),
            "the backbone cannot take images of 100 pixels: .* divisible by patch size .*; data.image_size=96 works",
        ),
        (
            ("backbone.name=jx_nest_tiny",),
            "timm no longer has a backbone 'jx_nest_tiny'; choose backbone.name=nest_tiny",
        ),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(tlx: Command, words: tuple[str, ...], told: str) -> None:
    answer = tlx("inspect", "case=small_similar", *TINY, *words)
    assert answer.code == 2
    assert re.search(told, answer.err), answer.err
    assert "Traceback" not in answer.err
