"""The survey through whole runs: what cut=auto decides, that it is taken over, and that a profile changes nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import TINY, Answer
from tlx.config.check import check
from tlx.config.groups import AllCut, AutoCut, HeadCut, StageCut
from tlx.config.roots import TrainConfig
from tlx.data.open import open_source
from tlx.data.source import ArrayImages, Source
from tlx.data.transforms import Prepare
from tlx.features.profile import Profile
from tlx.learner.trainer import make_trainer
from tlx.network.backbone import create
from tlx.results.clock import Clock
from tlx.results.decisions import Decisions
from tlx.storage import read_json, read_tensors, write_json, write_tensors
from tlx.training import survey
from tlx.training.banks import Banks
from tlx.training.work import assemble

Command = Callable[..., Answer]
SMALL = ("case=small_similar", *TINY, "data.per_class=6", "callbacks.progress=false")


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = read_json(folder / "result.json")
    return result


def numbers(folder: Path) -> dict[str, Any]:
    """Collect all that a profile must not move."""
    result = result_of(folder)
    kept = ("metrics", "fingerprints", "parameters", "images", "solver", "certificate", "frozen_unchanged")
    return {**{name: result[name] for name in kept}, "model": read_tensors(folder / "model" / "weights.safetensors")}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    plain = [{name: value for name, value in each.items() if name != "model"} for each in (a, b)]
    equal = a["model"].keys() == b["model"].keys()
    return plain[0] == plain[1] and equal and all(torch.equal(t, b["model"][n]) for n, t in a["model"].items())


@pytest.mark.parametrize("cut", [("cut=head",), ("cut=early",), ("cut=layer", "cut.name=layer2.0"), ("cut=all",)])
def test_a_profile_changes_no_other_number(tlx: Command, tmp_path: Path, cut: tuple[str, ...]) -> None:
    for count in (0, 2000):
        answer = tlx(*SMALL, *cut, f"features.profile_up_to={count}", f"hydra.run.dir=up_to_{count}")
        assert answer.code == 0, answer.err
    assert "cut=auto would take" in answer.out
    without, with_it = tmp_path / "up_to_0", tmp_path / "up_to_2000"
    assert same(numbers(without), numbers(with_it))
    assert result_of(without)["profile"] is None
    assert not (without / "profile.csv").exists()
    assert result_of(without)["seconds"]["profile"] == 0
    profile = result_of(with_it)["profile"]
    rows = list(csv.DictReader((with_it / "profile.csv").read_text().splitlines()))
    assert [row["name"] for row in rows[:5]] == ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert [row["cut"] for row in rows].count("True") == 1
    assert (with_it / "profile.png").is_file()
    assert (profile["images"], profile["folds"]) == (60, 5)
    assert (profile["own"] is not None) == (cut[0] == "cut=all")


def test_numbers_that_differ_are_noticed(tlx: Command, tmp_path: Path) -> None:
    """Negative control of the comparison above."""
    assert tlx(*SMALL, "hydra.run.dir=one").code == 0
    assert tlx(*SMALL, "seed=1", "hydra.run.dir=two").code == 0
    assert not same(numbers(tmp_path / "one"), numbers(tmp_path / "two"))


@pytest.mark.parametrize("more", [("features.profile_up_to=59",), ("features=off",), ("freeze=last", "augment=none")])
def test_there_is_no_profile_unless_the_set_is_small_and_the_trunk_frozen(
    tlx: Command, tmp_path: Path, more: tuple[str, ...]
) -> None:
    answer = tlx(*SMALL, *more, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert result_of(tmp_path / "run")["profile"] is None
    assert "linear probes" not in answer.out


def test_auto_is_the_run_that_its_choice_would_have_been(tlx: Command, tmp_path: Path) -> None:
    answer = tlx(*SMALL, "cut=auto", "hydra.run.dir=auto")
    assert answer.code == 0, answer.err
    result = result_of(tmp_path / "auto")
    profile = result["profile"]
    chosen = profile["rows"][profile["auto"]]
    assert profile["cut"] == profile["auto"]
    assert f"auto takes stage {chosen['stage']} ({chosen['name']})" in answer.out
    assert result["cut"] == "auto"
    assert result["surgery"]["cut"] == f"behind stage {chosen['name']}"
    assert read_json(tmp_path / "auto" / "checkpoints" / "decisions.json")["profile"] == profile
    assert tlx(*SMALL, "cut=stage", f"cut.stage={chosen['stage']}", "hydra.run.dir=asked").code == 0
    assert same(numbers(tmp_path / "auto"), numbers(tmp_path / "asked"))
    assert result_of(tmp_path / "asked")["profile"]["rows"] == profile["rows"]


def test_a_resumed_run_takes_its_cut_over(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*SMALL, "cut=auto", "features=off", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert tlx(*words).code == 0
    first = result_of(tmp_path / "run")["surgery"]["cut"]
    # Another choice stands in the file: who decided anew would not take it.
    decisions = read_json(tmp_path / "run" / "checkpoints" / "decisions.json")
    other = 0 if decisions["profile"]["auto"] else 1
    decisions["profile"] |= {"auto": other, "cut": other}
    write_json(tmp_path / "run" / "checkpoints" / "decisions.json", decisions)
    for gone in ("result.json", "checkpoints/train/last.ckpt"):
        (tmp_path / "run" / gone).unlink()
    monkeypatch.setattr(survey, "look", None)  # nobody looks again
    answer = tlx("resume", "run=run")
    assert answer.code == 0, answer.err
    assert "as decided before" in answer.out
    again = result_of(tmp_path / "run")["surgery"]["cut"]
    assert again == f"behind stage {decisions['profile']['rows'][other]['name']}" != first


def test_inspect_shows_where_auto_would_cut(tlx: Command, tmp_path: Path) -> None:
    answer = tlx("inspect", *SMALL, "cut=auto")
    assert answer.code == 0, answer.err
    assert "linear probes on 60 training images, 5-fold cross-validation 4 times" in answer.out
    assert "auto takes stage" in answer.out
    assert "kept, frozen" in answer.out
    assert not (tmp_path / "outputs").exists()


def test_auto_with_a_network_that_trains_whole(tlx: Command, tmp_path: Path) -> None:
    answer = tlx(*SMALL, "cut=auto", "freeze=none", "features=off", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert result_of(tmp_path / "run")["profile"]["cut"] is not None
    assert (tmp_path / "run" / "profile.png").is_file()


def test_a_run_that_reads_all_stages_is_measured_again_alike(tlx: Command, tmp_path: Path) -> None:
    for more in (("features=bank",), ("features=off", "freeze=none", "trainer.max_epochs=1")):
        name = more[0].partition("=")[2]
        assert tlx(*SMALL, "cut=all", *more, f"hydra.run.dir={name}").code == 0
        before = result_of(tmp_path / name)["metrics"]["test"]
        answer = tlx("evaluate", f"run={name}")
        assert answer.code == 0, answer.err
        assert f"{before['accuracy']:.4f}" in answer.out
        assert result_of(tmp_path / name)["surgery"]["cut"] == "behind layer4, every stage read"


def config_of(cut: Any) -> TrainConfig:
    """Build the config of a small frozen run."""
    plain: dict[str, Any] = {
        "backbone": {"kind": "timm", "name": "test_resnet", "image_size": 32},
        "init": {"kind": "scratch"}, "cut": {"kind": "head"}, "freeze": {"kind": "trunk"},
        "head": {"kind": "linear"}, "features": {"kind": "bank"}, "solver": {"kind": "lbfgs"},
        "data": {"kind": "digits", "per_class": 6}, "augment": {"kind": "none"},
        "optimizer": {"kind": "adamw"}, "schedule": {"kind": "cosine"}, "regularizer": {"kind": "standard"},
        "trainer": {"kind": "lightning", "accelerator": "cpu"}, "callbacks": {"kind": "standard", "progress": False},
        "logger": {"kind": "csv"},
    }  # fmt: skip
    return replace(check(plain, TrainConfig), cut=cut)


def settled(config: TrainConfig, source: Source) -> tuple[TrainConfig, Any, dict[str, Any]]:
    decisions = Decisions(None)
    trainer = make_trainer(config.trainer)
    found, looked = survey.settle_cut(config, source, trainer, decisions, Clock(0.0, 0.0), Banks(config, decisions))
    return found, looked, decisions.taken


class Sealed(ArrayImages):
    """Images that nobody may look at."""

    def read(self, index: int, side: int | None = None) -> Any:
        raise AssertionError(f"{self.name(index)} was read")


def sealed(images: Any) -> Sealed:
    return Sealed(images.origin, images.images, images.labels)


def test_nothing_but_training_images_is_looked_at() -> None:
    config = config_of(AutoCut())
    source = open_source(config.data, 0)
    plain = settled(config, source)
    closed = replace(source, val=sealed(source.val), test=sealed(source.test))
    assert settled(config, closed)[2] == plain[2]
    # Negative control: a seal is noticed where somebody looks; and the labels of training images matter.
    with pytest.raises(AssertionError, match="was read"):
        settled(config, replace(source, train=sealed(source.train)))
    wrong = ArrayImages("x", source.train.images, np.roll(source.train.labels, 7))  # type: ignore[attr-defined]
    assert settled(config, replace(source, train=wrong))[2] != plain[2]


def test_at_most_so_many_images_decide() -> None:
    config = config_of(AutoCut(images=30))
    source = open_source(config.data, 0)
    _, looked, taken = settled(config, source)
    assert taken["profile"]["images"] == 30
    assert sorted(np.bincount(looked.source.train.labels)) == [3] * 10


def test_what_was_read_is_taken_over_only_where_it_is_the_same() -> None:
    config = config_of(AutoCut())
    source = open_source(config.data, 0)
    found, looked, taken = settled(config, source)
    network, _, _ = assemble(found, source)
    columns = looked.opened.columns(network)
    assert columns is not None
    assert looked.features[:, columns.part].shape == (60, network.trunk.width)
    profile = Profile.read(taken["profile"])
    assert network.trunk.width == profile.rows[profile.auto].place.width
    with torch.no_grad():  # negative control: other weights
        next(network.trunk.parameters()).add_(1e-3)
    assert looked.opened.columns(network) is None
    other, _, _ = assemble(replace(found, head=replace(found.head, pool="max")), source)
    assert looked.opened.columns(other) is None  # another pooling
    everything, preprocessing, _ = assemble(replace(found, cut=AllCut()), source)
    columns = looked.opened.columns(everything)
    assert columns is not None
    assert columns.scale is not None
    images = torch.stack([Prepare(preprocessing)(source.train.read(i)) for i in range(3)])
    with torch.no_grad():
        own = everything.eval().embed(images).numpy()
    assert np.allclose(looked.features[:3, columns.part] * columns.scale, own, rtol=1e-4, atol=1e-5)
    everything.trunk.scale.mul_(2)  # type: ignore[operator, union-attr]
    twice = looked.opened.columns(everything)
    assert twice is not None
    assert np.array_equal(twice.scale, 2 * columns.scale)
    with torch.no_grad():  # negative control: other weights
        next(everything.trunk.parameters()).add_(1e-3)
    assert looked.opened.columns(everything) is None


def short_file(tmp_path: Path) -> Path:
    """Write weights that end inside the third stage of four."""
    from tlx.config.groups import TimmBackbone

    state = create(TimmBackbone(name="test_convnext"), 32).model.state_dict()
    kept = {n: t for n, t in state.items() if not n.startswith(("stages.2.blocks.1", "stages.3", "norm", "head"))}
    write_tensors(tmp_path / "short.safetensors", kept)
    return tmp_path / "short.safetensors"


@pytest.mark.parametrize("cut", ["all", "auto"])
def test_weights_that_end_early_bound_what_is_read_and_the_run_says_so(tlx: Command, tmp_path: Path, cut: str) -> None:
    words = (*SMALL, "backbone.name=test_convnext", "init=pretrained", f"init.file={short_file(tmp_path)}")
    answer = tlx(*words, f"cut={cut}", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "end behind stages.2.blocks.0" in answer.out
    result = result_of(tmp_path / "run")
    assert [row["name"] for row in result["profile"]["rows"]] == ["stages.0", "stages.1", "stages.2.blocks.0"]
    if cut == "all":
        assert result["surgery"]["cut"] == "behind stages.2.blocks.0, every stage read"
        assert tlx("evaluate", "run=run").code == 0
    # A cut inside the weights has a profile as far as they reach; one behind them is refused as before.
    assert tlx(*words, "cut=stage", "cut.stage=0", "hydra.run.dir=early").code == 0
    assert len(result_of(tmp_path / "early")["profile"]["rows"]) == 3
    assert tlx(*words, "cut=head").code == 2


def test_whole_weights_end_nowhere(tlx: Command) -> None:
    answer = tlx(*SMALL, "cut=all")
    assert answer.code == 0, answer.err
    assert "weights   end" not in answer.out


def test_one_image_a_class_cannot_choose_but_can_train(tlx: Command, photos: Path, tmp_path: Path) -> None:
    words = (*SMALL[:-2], "data=folder", f"data.root={photos}", "callbacks.progress=false", "data.per_class=2")
    answer = tlx(*words, "cut=auto")
    assert answer.code == 2
    assert "no class has two training images" in answer.err
    assert tlx(*words, "hydra.run.dir=run").code == 0
    assert result_of(tmp_path / "run")["profile"] is None


def test_a_race_runs_both_arms_on_the_cut_that_the_pretrained_weights_reach(tlx: Command, tmp_path: Path) -> None:
    words = (*SMALL, "backbone.name=test_convnext", "init=race", f"init.file={short_file(tmp_path)}", "freeze=none")
    answer = tlx(*words, "features=off", "cut=all", "trainer.max_epochs=2", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert result_of(tmp_path / "run")["surgery"]["cut"] == "behind stages.2.blocks.0, every stage read"


def test_a_profile_is_remembered_for_its_own_pace(tlx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    original = survey.look
    monkeypatch.setattr(survey, "look", lambda *args: looks.append(precision) or original(*args))  # type: ignore[func-returns-value]
    for precision in ("32", "32", "bf16-mixed", "auto"):  # so little work stays at 32 by itself
        assert tlx(*SMALL, f"trainer.precision={precision}").code == 0
    assert looks == ["32", "bf16-mixed"]


def test_settling_leaves_other_cuts_alone() -> None:
    for cut in (HeadCut(), StageCut(stage=1), AllCut(until=1)):
        config = config_of(cut)
        found, looked, taken = settled(config, open_source(config.data, 0))
        assert (found, looked, taken) == (config, None, {})
    assert settled(config_of(AllCut()), open_source(config.data, 0))[0].cut == AllCut(until=4)


def test_the_decision_survives_json() -> None:
    config = config_of(AutoCut())
    _, _, taken = settled(config, open_source(config.data, 0))
    assert json.loads(json.dumps(taken)) == taken
