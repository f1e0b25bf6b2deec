"""``predict`` writes a row for every image, as the run's own measurement sees it, whatever happens on the way."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, Answer
from tlx.data.own import unlabelled
from tlx.results import answers, predictions
from tlx.storage import read_json, write_json

Command = Callable[..., Answer]
WORDS = ("predict", "run=run", "trainer=cpu")


@pytest.fixture
def run(tlx: Command, photos: Path, tmp_path: Path) -> Path:
    words = ("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "data.workers=0")
    assert tlx(*words, "features.profile_up_to=0", "hydra.run.dir=run").code == 0
    return tmp_path / "run"


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "predictions.csv").read_text("utf-8"), newline="")))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_bytes().splitlines()]


def test_it_says_what_the_run_said_of_its_test_images(tlx: Command, run: Path, photos: Path, tmp_path: Path) -> None:
    """Predictions and probabilities, so the temperature too: a folder with val/ alone has it as its test images."""
    model = read_json(run / "model" / "network.json")
    write_json(run / "model" / "network.json", {**model, "temperature": 3.0})
    answer = tlx(*WORDS, f"images={photos / 'val'}", "output=out", "embed=true")
    assert (answer.code, answer.err) == (0, "")
    said = predictions.read(run / "predictions.csv", model["classes"])["test"]
    found = {row["image"]: row for row in rows(tmp_path / "out")}
    assert list(found) == sorted(found)
    assert [name.removeprefix("val/") for name in said.names] == list(found)
    own = said.probability / (1 - said.probability)
    for name, best, odds in zip(said.names, said.predicted, own, strict=True):
        row = found[name.removeprefix("val/")]
        assert row["predicted"] == model["classes"][best]
        cooler = odds ** (model["temperature"] / 3.0)  # of two classes, odds are to the power of 1 / temperature
        assert float(row["probability"]) == pytest.approx(cooler / (1 + cooler), abs=2e-3)
    assert np.load(tmp_path / "out" / "embeddings.npy").shape[0] == len(found) == 12
    about = read_json(tmp_path / "out" / "about.json")
    assert (about["rows"], about["faults"], about["temperature"], about["top"]) == (12, 0, 3.0, 2)
    for file in ("predictions.csv", "predictions.jsonl", "embeddings.npy"):
        assert f"written   out/{file}\n" in answer.out
    assert "\x1b" not in answer.out


def test_a_folder_of_its_own_for_everyone_who_asks(tlx: Command, run: Path, photos: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert tlx(*WORDS, f"images={photos / 'val' / 'red'}", "top=1").code == 0
    folders = sorted((tmp_path / "outputs" / "predictions").iterdir())
    assert len(folders) == 2
    assert all("_red" in folder.name for folder in folders)
    assert rows(folders[0]) == rows(folders[1])
    assert list(rows(folders[0])[0]) == ["image", "predicted", "probability", "error"]


def test_broken_images_are_rows_among_the_others(
    tlx: Command, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos / "val" / "red"
    whole = (root / "00.png").read_bytes()
    (root / "torn.png").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").touch()
    (root / "page.jpg").write_text("<html>not here</html>")
    (root / "=folder.jpg").mkdir()
    (root / "locked.png").write_bytes(whole)
    (root / os.fsdecode(b"\xff\nx.png")).write_bytes(whole)
    original = unlabelled.decode

    def decode(path: Path, *args: Any) -> Image.Image:
        if path.name == "locked.png":  # whoever is root may read everything
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *args)

    monkeypatch.setattr(unlabelled, "decode", decode)
    answer = tlx(*WORDS, f"images={root}", "output=out", "batch_size=4", "embed=true")
    assert answer.code == 0, answer.err
    assert "5 images could not be read" in answer.out
    errors = {line["image"]: line["error"] for line in lines(tmp_path / "out") if line["error"]}
    assert {name: told.partition(":")[0] for name, told in errors.items()} == {
        "=folder.jpg": "no image", "empty.jpg": "empty", "locked.png": "unreadable", "page.jpg": "no image",
        "torn.png": "broken",
    }  # fmt: skip
    table = rows(tmp_path / "out")
    assert len(table) == 12
    assert [row["image"] for row in table][-2:] == ["torn.png", "\\udcff\nx.png"]
    assert "'=folder.jpg" in [row["image"] for row in table]
    good = [row for row in table if not row["error"]]
    assert all(row["predicted"] for row in good)
    features = np.load(tmp_path / "out" / "embeddings.npy")
    assert [bool(row["error"]) for row in table] == np.isnan(features).all(1).tolist()


def test_a_table_and_augmentation(tlx: Command, run: Path, photos: Path, tmp_path: Path) -> None:
    """Twelve crops, flips and tables: what averages says something else, and of the same images."""
    listed = ["val/red/01.png", "gone.png", "val/blue/03.png"]
    (photos / "list.csv").write_text("\n".join(["file,x", *(f"{name},1" for name in listed)]) + "\n")
    shares = {}
    for tta in ("none", "flip", "crops"):
        words = (f"images={photos / 'list.csv'}", "image_column=file", f"tta={tta}", "top=all", f"output={tta}")
        answer = tlx(*WORDS, *words)
        assert answer.code == 0, answer.err
        found = lines(tmp_path / tta)
        assert [line["image"] for line in found] == listed
        assert found[1]["error"].startswith("gone")
        assert sum(found[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        shares[tta] = [found[index]["probabilities"]["red"] for index in (0, 2)]
    assert len({tuple(values) for values in shares.values()}) == 3
    assert np.ptp(list(shares.values()), axis=0).max() < 0.3


def test_a_signal_leaves_complete_rows_and_says_where(
    tlx: Command, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = answers.Answers.add

    def add(self: answers.Answers, answer: Any) -> None:
        original(self, answer)
        if answer.last == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(answers.Answers, "add", add)
    before = signal.getsignal(signal.SIGTERM)
    answer = tlx(*WORDS, f"images={photos}", "output=out", "batch_size=4")
    assert answer.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    text = (tmp_path / "out" / "predictions.csv.partial").read_text()
    count = len(text.splitlines()) - 1
    assert count in (8, 12)
    assert text.endswith("\n")
    assert f"interrupted by SIGTERM, {count} rows stand in out/predictions.csv.partial\n" in answer.err
    assert len((tmp_path / "out" / "predictions.jsonl.partial").read_text().splitlines()) == count
    assert not (tmp_path / "out" / "predictions.csv").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tlx: Command, run: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "val" / "red" / "empty.png").touch()
    words = (f"images={photos / 'val'}", "embed=true")
    assert tlx(*WORDS, *words, "output=one").code == 0
    command = [sys.executable, "-m", "tlx", "predict", "run=run", *words, "output=two", "trainer=ddp"]
    command += ["trainer.accelerator=cpu", "trainer.devices=2"]
    two = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert (two.returncode, two.stderr) == (0, "")
    assert two.stdout.count("written") == 3
    assert [row["predicted"] for row in rows(tmp_path / "one")] == [row["predicted"] for row in rows(tmp_path / "two")]
    assert sorted(file.name for file in (tmp_path / "two").iterdir()) == [
        "about.json", "embeddings.npy", "predictions.csv", "predictions.jsonl",
    ]  # fmt: skip
    assert read_json(tmp_path / "two" / "about.json")["faults"] == 1
    np.testing.assert_allclose(
        np.load(tmp_path / "two" / "embeddings.npy"), np.load(tmp_path / "one" / "embeddings.npy"), atol=1e-4
    )


def test_what_cannot_be_is_told_before_anything_is_written(
    tlx: Command, run: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "predictions.csv").touch()
    for words, told in (
        (("images=nowhere",), "images=nowhere does not exist; give an image, a folder, a pattern"),
        (("images=none",), "images=none holds no images"),
        (("images=*.nope",), "no file matches images=*.nope"),
        ((f"images={photos}", "output=taken"), "taken already holds predictions.csv; remove it, or give another"),
        ((f"images={photos}", "tta=rotate"), "tta=rotate is not an option; one of: none, flip, crops"),
        ((f"images={photos}", "top=0"), "top=0 is out of range"),
        ((f"images={photos}", "top=most"), "top='most' has the wrong type; it takes a whole number or all"),
        ((), "images is missing; give it: images=..."),
    ):
        answer = tlx(*WORDS, *words)
        assert (answer.code, told in answer.err) == (2, True), answer.err
    answer = tlx("predict", "run=nowhere", f"images={photos}")
    assert (answer.code, "holds no run" in answer.err) == (2, True)
    (run / "model").rename(run / "elsewhere")
    answer = tlx(*WORDS, f"images={photos}")
    assert (answer.code, "is not finished; go on" in answer.err) == (2, True)
    assert not (tmp_path / "outputs").exists()


def test_a_folder_that_may_not_be_written_is_the_machines_fault(tlx: Command, run: Path, photos: Path) -> None:
    blocked = photos.parent / "blocked"
    blocked.touch()
    answer = tlx(*WORDS, f"images={photos}", f"output={blocked / 'out'}")
    assert (answer.code, "choose another folder: output=PATH" in answer.err) == (3, True)
    assert stat.S_ISREG(blocked.stat().st_mode)
