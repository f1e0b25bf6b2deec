"""From Python: the same runs and predictions as on the command line, errors raised, and nothing left behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

import tlx as package
from tests.conftest import TINY, Answer
from tests.verbs.test_own_backbone import CODE
from tlx.__main__ import conf_folder
from tlx.errors import InputError, NumericalError
from tlx.notebook import Run

Command = Callable[..., Answer]
SMALL = ("case=small_similar", *TINY, "data=digits", "data.per_class=4", "features.profile_up_to=0")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return package.train(*SMALL, "hydra.run.dir=run")


def test_train_is_the_command_lines(run: Run, tlx: Command, tmp_path: Path) -> None:
    assert tlx(*SMALL, "hydra.run.dir=again").code == 0
    again = package.load("again")
    assert (run.folder, again.folder) == (tmp_path / "run", tmp_path / "again")
    assert run.result["metrics"] == again.result["metrics"]
    assert run.result["fingerprints"] == again.result["fingerprints"]
    assert run.result["command"] == again.result["command"].replace("again", "run")
    assert run.classes == run.result["classes"] == [str(digit) for digit in range(10)]
    assert sum(p.numel() for p in run.network.parameters()) > 0
    assert not run.network.training
    assert repr(run) == f"Run('{tmp_path / 'run'}')"


def test_predict_is_the_command_lines(run: Run, tlx: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    arrays = [rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(3)]
    for index, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / "images" / f"{index}.png")
    (tmp_path / "images" / "3.png").touch()
    words = (f"images={tmp_path / 'images'}", "output=out", "top=all", "tta=flip", "trainer=cpu")
    assert tlx("predict", "run=run", *words).code == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    found = run.predict(tmp_path / "images", tta="flip")
    mixed = run.predict([arrays[0], Image.fromarray(arrays[1]), tmp_path / "images" / "2.png"], "flip", batch_size=2)
    for one, line in zip(found, lines, strict=True):
        assert (one.image, one.predicted, one.error) == (line["image"], line["predicted"], line["error"])
        assert one.probabilities == pytest.approx(line["probabilities"], abs=2e-6)
    for one, other in zip(mixed, found, strict=False):
        assert one.predicted == other.predicted
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    assert (found[3].predicted, found[3].probabilities, found[3].error) == (None, {}, "empty: zero bytes")
    assert [len(run.predict(one)) for one in (arrays[0], [], str(tmp_path / "images" / "0.png"))] == [1, 0, 1]


def test_errors_are_raised_and_nothing_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, told in (
        (("case=bogus",), "unknown option case=bogus; one of: "),
        ((*SMALL, "optimizer.lr=abc"), "optimizer.lr='abc' has the wrong type"),
        ((*SMALL, "optimizer.learning=1"), "unknown key 'optimizer.learning'"),
        ((*SMALL, "data=folder", "data.root=nowhere"), "nowhere is no folder"),
        (("data=digits",), "train needs a case"),
        (("-m", *SMALL), "-m is for the command line"),
        (("inspect",), "'inspect' is no override"),
    ):
        with pytest.raises(InputError, match=told):
            package.train(*words)
        assert "rror" not in "".join(capfd.readouterr())
    with pytest.raises(InputError, match="holds no run"):
        package.load("nowhere")
    diverging = ("optimizer=sgd", "optimizer.lr=1e18", "trainer.gradient_clip=null", "trainer.max_epochs=3")
    with pytest.raises(NumericalError):
        package.train("case=large_similar", *TINY, "data=digits", *diverging, "hydra.run.dir=diverged")
    assert json.loads((tmp_path / "diverged" / "failure.json").read_text())["exit_code"] == 4
    with pytest.raises(InputError, match="is not finished; go on"):
        package.load("diverged")


def test_a_notebooks_own_hydra_arguments_and_environment_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    monkeypatch.delenv("TLX_UNIQUE", raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        package.train(*SMALL, "seed=1", "hydra.run.dir=first")
        with pytest.raises(InputError):
            package.train("case=bogus")
        assert GlobalHydra.instance().is_initialized()
        assert compose("train", ["seed=5"])["seed"] == 5
    assert not GlobalHydra.instance().is_initialized()
    package.train(*SMALL, "seed=2", "hydra.run.dir=second")
    assert not GlobalHydra.instance().is_initialized()
    assert sys.argv == ["ipykernel_launcher.py", "-f", "kernel.json"]
    assert ("TLX_UNIQUE" in os.environ, os.environ["HYDRA_FULL_ERROR"]) == (False, "0")
    assert {package.load(name).result["seed"] for name in ("first", "second")} == {1, 2}


def test_a_network_of_ones_own_is_named_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    words = ("backbone=custom", f"backbone.target={name}.MyNet", "backbone.kwargs={width: 8}", "backbone.image_size=16")
    run = package.train("case=large_different", *words, "init=scratch", "trainer=cpu", "data=digits",
                        "data.per_class=4", "trainer.max_epochs=1", "hydra.run.dir=run")  # fmt: skip
    image = np.zeros((16, 16, 3), np.uint8)
    (said,) = run.predict(image)
    with pytest.raises(InputError, match="a run folder names no code"):
        package.load("run")
    (again,) = package.load("run", f"{name}.MyNet", {"width": 8}).predict(image)
    assert again == said


def test_what_tlx_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        _ = package.fit  # type: ignore[attr-defined]
