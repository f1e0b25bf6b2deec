"""``evaluate`` measures again what ``train`` measured, and refuses what does not fit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import TINY, Answer
from tlx.results import predictions
from tlx.results.run_folder import RunFolder
from tlx.verbs import evaluate

Command = Callable[..., Answer]


def row_of(out: str) -> list[str]:
    """Take the figures from the table."""
    return next(line.split()[1:] for line in out.splitlines() if line.split(" ")[0] in ("train", "val", "test"))


@pytest.fixture
def run(tlx: Command, photos: Path) -> str:
    words = ("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "data.workers=0")
    assert tlx(*words, "hydra.run.dir=run").code == 0
    return "run=run"


def test_evaluate_repeats_the_runs_own_figures(tlx: Command, tmp_path: Path, run: str) -> None:
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    for split in ("train", "val", "test"):
        answer = tlx("evaluate", run, f"split={split}", "trainer=cpu")
        assert answer.code == 0, answer.err
        row = next(line.split() for line in answer.out.splitlines() if line.startswith(split))
        assert row[1] == str(result["images"][split])
        assert float(row[3]) == pytest.approx(result["metrics"][split]["accuracy"], abs=5e-5)
        assert float(row[2]) == pytest.approx(result["metrics"][split]["loss"], abs=2e-4)


def test_evaluate_on_other_images_of_the_same_classes(tlx: Command, photos: Path, run: str) -> None:
    answer = tlx("evaluate", run, "data=folder", f"data.root={photos}", "split=train", "data.workers=0", "trainer=cpu")
    assert answer.code == 0, answer.err


def test_evaluate_measures_all_images_of_a_folder_that_is_not_split(tlx: Command, photos: Path, run: str) -> None:
    given = tlx("evaluate", run, "data=folder", f"data.root={photos}", "split=val", "data.workers=0", "trainer=cpu")
    count = len(list((photos / "val").rglob("*.*")))
    for words in (f"data.root={photos / 'val'}", f"data.root={photos / 'val'} split=val"):
        answer = tlx("evaluate", run, "data=folder", *words.split(), "data.workers=0", "trainer=cpu")
        assert answer.code == 0, answer.err
        assert f"{count} images, all that are there" in answer.out
        assert row_of(answer.out) == row_of(given.out)


def test_evaluate_needs_neither_train_nor_every_class(tlx: Command, photos: Path, run: str) -> None:
    shutil.rmtree(photos / "train")
    shutil.rmtree(photos / "val" / "red")
    (photos / "val").rename(photos / "test")
    answer = tlx("evaluate", run, "data=folder", f"data.root={photos}", "data.workers=0", "trainer=cpu")
    assert answer.code == 0, answer.err
    assert "images, those given as test" in answer.out
    answer = tlx("evaluate", run, "data=folder", f"data.root={photos}", "split=val", "trainer=cpu")
    assert answer.code == 2
    assert "has no val images; split=test" in answer.err


def test_a_class_without_images_is_left_out_and_told(tlx: Command, tmp_path: Path, photos: Path, run: str) -> None:
    shutil.rmtree(photos / "val" / "red")
    answer = tlx("evaluate", run, "data=folder", f"data.root={photos / 'val'}", "trainer=cpu", "report=true")
    assert answer.code == 0, answer.err
    result = json.loads((tmp_path / "run" / "evaluations" / "val_test" / "result.json").read_text())
    assert result["metrics"]["test"]["balanced_accuracy"] == pytest.approx(result["metrics"]["test"]["accuracy"])
    low, high = re.search(r"balanced accuracy ([\d.]+) to ([\d.]+)", answer.out).groups()
    assert float(low) <= result["metrics"]["test"]["balanced_accuracy"] <= float(high)
    page = (tmp_path / "run" / "evaluations" / "val_test" / "report.html").read_text()
    assert "No image here is of red" in page
    assert "balanced over 1 class," in page


def test_evaluate_refuses_unknown_classes(tlx: Command, photos: Path, run: str) -> None:
    for split in ("train", "val"):
        (photos / split / "red").rename(photos / split / "green")
    answer = tlx("evaluate", run, "data=folder", f"data.root={photos}", "trainer=cpu")
    assert answer.code == 2
    assert "does not know the classes green" in answer.err


def test_evaluate_refuses_an_unfinished_run(tlx: Command, tmp_path: Path) -> None:
    words = ("case=large_similar", *TINY, "data=digits", "optimizer=sgd", "trainer.gradient_clip=null")
    assert tlx(*words, "optimizer.lr=1e18", "trainer.max_epochs=3", "hydra.run.dir=half").code == 4  # diverges
    answer = tlx("evaluate", "run=half")
    assert answer.code == 2
    assert "resume run=half" in answer.err
    assert tlx("evaluate", "run=nowhere").code == 2
    assert tlx("evaluate", "run=half", "split=all").code == 2


def test_other_images_are_not_taken_at_another_size(tlx: Command, run: str, photos: Path) -> None:
    words = ("evaluate", run, "data=folder", f"data.root={photos}", "data.workers=0", "trainer=cpu")
    answer = tlx(*words, "data.image_size=64")
    assert answer.code == 2
    assert "data.image_size=64 cannot be had: this run's network takes images of 32 px; leave it out" in answer.err
    answer = tlx(*words, "data.image_size=32")
    assert answer.code == 0, answer.err
    assert "model     run/model\n" in answer.out


def test_a_run_is_measured_at_the_pace_of_its_features(
    tlx: Command, tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head was solved on them, and no training has settled a pace."""
    seen = []
    original = evaluate.predict

    def predict(trainer: Any, module: Any, loader: Any) -> torch.Tensor:
        trunk = module.network.trunk
        seen.append((trainer.precision, trunk.memory_format))
        assert all(p.is_contiguous(memory_format=trunk.memory_format) for p in trunk.parameters() if p.dim() == 4)
        return original(trainer, module, loader)

    monkeypatch.setattr(evaluate, "predict", predict)
    file = tmp_path / "run" / "checkpoints" / "decisions.json"
    decisions = json.loads(file.read_text())
    assert "pace/train" not in decisions
    decisions["pace/features"] = {"precision": "bf16-mixed", "memory_format": "contiguous"}
    file.write_text(json.dumps(decisions))
    assert tlx("evaluate", run, "trainer=cpu").code == 0
    assert tlx("evaluate", run, "trainer=cpu", "trainer.precision=32", "trainer.memory_format=channels_last").code == 0
    assert seen == [("bf16-mixed", torch.contiguous_format), ("32-true", torch.channels_last)]
    decisions["pace/train"] = {"precision": "32", "memory_format": "contiguous"}  # of a later phase
    file.write_text(json.dumps(decisions))
    assert tlx("evaluate", run, "trainer=cpu").code == 0
    assert seen[2:] == [("32-true", torch.contiguous_format)]


def test_an_evaluation_is_kept_with_its_page(tlx: Command, tmp_path: Path, photos: Path, run: str) -> None:
    answer = tlx("evaluate", run, "data=folder", f"data.root={photos / 'val'}", "trainer=cpu", "report=true")
    assert answer.code == 0, answer.err
    folder = RunFolder(tmp_path / "run" / "evaluations" / "val_test")
    assert answer.out.splitlines()[-1].split() == ["folder", str(folder.path.relative_to(tmp_path))]
    result = json.loads(folder.result.read_text())
    own = json.loads((tmp_path / "run" / "result.json").read_text())["images"]
    assert result["images"] == {**own, "test": 12}  # the page says what it was trained on
    page = folder.report.read_text()
    assert f"Trained on {own['train']} images" in page
    assert "Measured are other images than the run's own" in page
    assert "<tr><td>val</td>" not in page
    said = predictions.read(folder.predictions, result["classes"])["test"]
    assert said.right.mean() == pytest.approx(result["metrics"]["test"]["accuracy"])
    assert "of 12 test images of val are classified rightly" in folder.report.read_text()
    low, high = re.search(r"accuracy ([\d.]+) to ([\d.]+),", answer.out).groups()
    assert float(low) <= result["metrics"]["test"]["accuracy"] <= float(high)
    elsewhere = tlx("evaluate", run, "split=val", "trainer=cpu", f"output={tmp_path / 'x'}", "report=false")
    assert elsewhere.code == 0, elsewhere.err
    assert (tmp_path / "x" / "predictions.csv").is_file()
    assert not (tmp_path / "x" / "report.html").exists()


def test_groups_are_measured_apart(tlx: Command, tmp_path: Path, photos: Path, run: str) -> None:
    other = {"red": "blue", "blue": "red"}
    table, rows = photos / "table.csv", []
    for index, file in enumerate(sorted((photos / "val").rglob("*.png"))):
        true, wrong = file.parent.name, index % 4 == 0
        rows.append(f"{file.relative_to(photos)},{other[true] if wrong else true},{'wrong <b>' if wrong else 'fine'}")
    table.write_text("image,label,who\n" + "\n".join(rows) + "\n")
    words = ("data=table", f"data.file={table}", "data.group_column=who", "trainer=cpu", "report=true")
    answer = tlx("evaluate", run, *words)
    assert answer.code == 0, answer.err
    (folder,) = (tmp_path / "run" / "evaluations").iterdir()
    sliced = json.loads((folder / "result.json").read_text())["slices"]
    assert [row["group"] for row in sliced] == ["wrong <b>", "fine"]  # the worst first
    assert [row["images"] for row in sliced] == [3, 9]
    assert sliced[0]["accuracy"] < sliced[1]["accuracy"]
    assert "group     wrong <b>: accuracy" in answer.out
    page = (folder / "report.html").read_text()
    assert "Group by group" in page
    assert "wrong &lt;b&gt;" in page
    assert "<b>:" not in page
    plain = tlx("evaluate", run, *words[:2], "trainer=cpu")
    assert "group  " not in plain.out
