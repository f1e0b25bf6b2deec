"""``advise`` says which case is yours; ``case=auto`` takes the advice and trains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Answer, runs_of
from tlx.advice.evidence import STEPS
from tlx.advice.trial import Extent
from tlx.interruption import Interruption

Command = Callable[..., Answer]

TEN = ("size", "similar", "trial", "advice", "next best", "textbook", "changes", "run")


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """Choose the tiny network, with 'pretrained' weights that are those of another seed."""
    import timm

    from tlx.storage import write_tensors

    torch.manual_seed(5)
    path = tmp_path / "weights.safetensors"
    write_tensors(path, timm.create_model("test_resnet").state_dict())
    backbone = ("backbone=timm", "backbone.name=test_resnet", "backbone.image_size=32", f"init.file={path}")
    return (*backbone, "trainer=cpu", "data.per_class=8", "callbacks.progress=false")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make trials short, whatever the time that there is."""
    monkeypatch.setattr("tlx.advice.advise.extent", lambda *_: Extent(60, 2))
    monkeypatch.setattr("tlx.advice.trial.FOLDS", 2)
    monkeypatch.setattr("tlx.advice.advise.worth_trying", lambda *_: True)


def advice_of(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "advice.json").read_text())
    return told


def test_advice_is_ten_lines_a_file_and_a_page(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tlx("advise", *words, "output=here")
    assert answer.code == 0, answer.err
    told = advice_of(tmp_path / "here")
    lines = {line.partition("  ")[0].strip() for line in answer.out.splitlines()}
    assert {label for label in TEN if any(line.startswith(label) for line in lines)} == set(TEN)
    assert sum(row["advised"] for row in told["strategies"]) == 1
    assert [row["kind"] for row in told["strategies"]] == ["frozen"] * 6 + ["lp_ft", "full", "scratch"]
    assert all(0 <= row["expected"]["low"] <= row["expected"]["high"] <= 1 for row in told["strategies"])
    assert all(row["cost"]["seconds"] > 0 and row["cost"]["memory"] > 0 for row in told["strategies"])
    assert told["trials"], told["untried"]
    evidence = told["evidence"]
    assert evidence["images"] == 80
    assert len(evidence["logme"]) == len(evidence["profile"]["rows"]) == 5
    similar = evidence["similarity"]
    assert similar["value"] == pytest.approx(similar["worth"] * similar["depth"])
    assert (tmp_path / "here" / "advice.html").stat().st_size > 10_000
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["advice.html", "advice.json", "plots"]
    assert not runs_of(tmp_path)
    again = tlx("advise", *words, "output=here")
    assert again.code == 2
    assert "already holds" in again.err


def test_of_many_images_a_sample_is_looked_at_and_like_is_compared_with_like(
    tlx: Command, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlx.advice.evidence.LOOKED", 70)
    monkeypatch.setattr("tlx.advice.evidence.FEW", 40)
    answer = tlx("advise", *words, "output=here", "trials=false")
    assert answer.code == 0, answer.err
    evidence = advice_of(tmp_path / "here")["evidence"]
    profile, random, similar = (evidence[key] for key in ("profile", "random_profile", "similarity"))
    assert (profile["images"], profile["folds"], random["images"]) == (70, 2, 40)
    assert similar["images"] == 40
    assert similar["random"] == random["rows"][random["best"]]["accuracy"]
    assert similar["pretrained"] < profile["rows"][profile["best"]]["accuracy"]  # which more images have taught
    assert "probes on 40 images" in answer.out
    own = profile["own"]
    last = {"images": 35, "accuracy": own["accuracy"], "standard_error": own["standard_error"]}
    best = max(profile["rows"], key=lambda row: row["accuracy"])
    if best["accuracy"] >= own["accuracy"]:
        last |= {"accuracy": best["accuracy"], "standard_error": best["standard_error"]}
    assert evidence["learning_curve"]["points"][-1] == last


def test_what_is_under_way_is_told_step_by_step(
    tlx: Command, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    told: list[tuple[int, int, str]] = []

    @contextmanager
    def recorded(*_: object, **__: object) -> Any:
        yield lambda done, count, what="": told.append((done, count, what))

    monkeypatch.setattr("tlx.verbs.advise.bar", recorded)
    assert tlx("advise", *words).code == 0
    steps = [(done, what) for done, count, what in told if count == STEPS and not what.startswith("trial")]
    assert [done for done, _ in steps] == list(range(STEPS))
    assert steps[0][1] == "images through every depth"
    assert any(what.startswith("trial: probe, then whole network") for *_, what in told)


def test_the_command_that_advice_gives_trains(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert tlx("advise", *words, "output=here", "trials=false").code == 0
    verdict = advice_of(tmp_path / "here")["verdict"]
    assert verdict["command"].startswith("python -m tlx case=")
    answer = tlx(*verdict["command"].split()[3:], "trainer.max_epochs=1", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["case"] == verdict["case"]


def test_without_trials_nothing_is_trained(
    tlx: Command, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr("tlx.advice.trial.train_phases", never)
    answer = tlx("advise", *words, "output=here", "trials=false")
    assert answer.code == 0, answer.err
    assert advice_of(tmp_path / "here")["untried"] == "trials=false"
    assert tlx("advise", *words, "output=there").code != 0  # the negative control: with trials, something is


def test_no_test_image_is_looked_at(tlx: Command, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.training.test_survey import Sealed
    from tlx.verbs import advise

    opened = advise.open_source

    def sealed(*args: Any) -> Any:
        from dataclasses import replace

        source = opened(*args)
        return replace(source, test=Sealed("digits", source.test.images, source.test.labels))

    monkeypatch.setattr(advise, "open_source", sealed)
    answer = tlx("advise", *words)
    assert answer.code == 0, answer.err


def test_auto_takes_the_advice_and_trains(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tlx("case=auto", *words, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    told, result = advice_of(tmp_path / "run"), json.loads((tmp_path / "run" / "result.json").read_text())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert result["case"] == config["case"] == told["verdict"]["case"]
    assert result["advice"] == told["verdict"]
    assert config["cut"]["kind"] == result["cut"]
    labels = [line.partition(" ")[0] for line in answer.out.splitlines()]
    order = [labels.index(label) for label in ("case", "data", "advice", "network")]
    assert order == sorted(order)
    assert labels.count("data") == 1
    assert re.search(rf"^advice +{told['verdict']['case']}: ", answer.out, re.MULTILINE)
    assert result["seconds"]["advice"] > 0
    images = result["images"]  # the advice's features are used again
    assert result["bank"]["computed"] == images["val"] + images["test"]
    resumed = tlx("resume", "run=run")
    assert resumed.code == 0
    assert "already finished" in resumed.out or "is finished" in resumed.out


def test_auto_that_was_interrupted_asks_again_and_ends_the_same(
    tlx: Command, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx.verbs import auto as verb

    whole = ("case=auto", *words, "trainer.max_epochs=1")
    assert tlx(*whole, "hydra.run.dir=whole").code == 0

    def interrupted(*_: object) -> None:
        raise Interruption("python -m tlx resume run=cut").error()

    with monkeypatch.context() as patch:
        patch.setattr(verb, "taken", interrupted)
        answer = tlx(*whole, "hydra.run.dir=cut")
    assert answer.code != 0
    assert "resume run=cut" in answer.err
    answer = tlx("resume", "run=cut", "trainer.max_epochs=9")
    assert answer.code == 2
    assert "no training to extend" in answer.err
    answer = tlx("resume", "run=cut")
    assert answer.code == 0, answer.err
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "cut"))
    assert one["fingerprints"]["model"] == two["fingerprints"]["model"]
    assert one["advice"]["words"] == two["advice"]["words"]


@pytest.mark.parametrize("content", ["{", "[]", "3", "{}", '{"verdict": 3}', "null"])
def test_damaged_advice_does_not_end_the_training(tmp_path: Path, content: str) -> None:
    from tlx.results.run_folder import RunFolder
    from tlx.verbs.train import _advised

    assert _advised(RunFolder(tmp_path)) is None
    (tmp_path / "advice.json").write_text(content)
    assert _advised(RunFolder(tmp_path)) in (None, 3)


def test_several_backbones_are_ranked(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    ranked = tuple(word for word in words if not word.startswith(("backbone", "init")))
    names = "[embedded,test_resnet]"
    answer = tlx("advise", *ranked, f"backbones={names}", "output=here", "trials=false", "data.image_size=32")
    assert answer.code == 0, answer.err
    first, second = advice_of(tmp_path / "here")["backbones"]
    assert first["backbone"] == "resnet10t"
    assert first["accuracy"] > 0.5
    assert second["backbone"] == "test_resnet"
    assert "weights" in second["error"]  # which cannot be fetched here
    assert advice_of(tmp_path / "here")["backbone"] == "resnet10t"
    assert re.search(r"^test_resnet +failed", answer.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("case=small_similar",), "leave it away, or train"),
        (("cut=head",), "advice chooses init, cut and freeze"),
        (("trainer.devices=2", "trainer.strategy=ddp"), "one device"),
    ],
)
def test_what_cannot_be_advised_is_told(
    tlx: Command, words: tuple[str, ...], given: tuple[str, ...], told: str
) -> None:
    answer = tlx("advise", *words, *given)
    assert answer.code == 2, answer.out
    assert told in answer.err


def test_advice_that_fails_leaves_no_folder(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    missing = [word for word in words if not word.startswith("init.file")]
    assert tlx("advise", *missing, "init.file=missing.safetensors").code == 2
    assert not list((tmp_path / "outputs" / "advice").iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert tlx("advise", *missing, "init.file=missing.safetensors", "output=mine").code == 2
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_what_is_written_is_not_read_as_images(tlx: Command, photos: Path) -> None:
    found = sorted(photos.rglob("*.png"))
    inside = next(path for path in photos.iterdir() if path.is_dir())
    advised = tlx("advise", "data=folder", f"data.root={photos}", f"output={inside}")
    trained = tlx("case=small_similar", "data=folder", f"data.root={photos}", f"hydra.run.dir={photos}/runs/one")
    for answer in (advised, trained):
        assert answer.code == 2
        assert "would be read as images to learn from" in answer.err
    assert sorted(photos.rglob("*.png")) == found


def test_the_command_says_paths_as_a_person_does(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    from tlx.door.arguments import prepare, spoken

    for path in ("photos", "my photos", "a/b", "it's", "a,b", "'", "~", "${x}"):
        (word,) = prepare("train", [f"data.root={path}"])
        assert prepare("train", [spoken(word)]) == [word]
    assert spoken("data.root='photos'") == "data.root=photos"
    assert spoken("head.name='photos'") == "head.name='photos'"  # which is no path


def test_auto_is_for_train(tlx: Command, words: tuple[str, ...]) -> None:
    answer = tlx("inspect", "case=auto", *words)
    assert answer.code == 2
    assert "case=auto is for train" in answer.err


@pytest.mark.slow
def test_a_sweep_compares_auto_with_the_others(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tlx(
        "-m", "case=auto,small_similar", *words, "data=digits", "trainer.max_epochs=1", "hydra.sweep.dir=sweep"
    )
    assert answer.code == 0, answer.err
    rows = (tmp_path / "sweep" / "comparison.csv").read_text().splitlines()
    assert len(rows) == 3
    assert (tmp_path / "sweep" / "0_auto" / "advice.json").is_file()
    assert not (tmp_path / "sweep" / "1_small_similar" / "advice.json").exists()
