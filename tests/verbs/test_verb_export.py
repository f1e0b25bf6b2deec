"""``export``: files that others read, used as their cards say, give what the run measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
import yaml

from tests.conftest import TINY, Answer
from tests.export.card_code import check_against_run
from tests.verbs.test_own_backbone import CODE
from tlx.config.groups import DigitsData
from tlx.data.open import open_source
from tlx.export import packages, push
from tlx.export.from_pixels import FromPixels
from tlx.network import model_folder
from tlx.storage import read_json

Command = Callable[..., Answer]


@pytest.fixture
def run(tlx: Command, photos: Path) -> str:
    words = ("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "data.workers=0")
    assert tlx(*words, "hydra.run.dir=run").code == 0
    return "run=run"


@pytest.mark.parametrize(
    "format", ["onnx", "timm", *(pytest.param(f, marks=pytest.mark.slow) for f in ("torch_export", "safetensors"))]
)
def test_the_cards_code_gives_the_runs_test_accuracy(
    tlx: Command, tmp_path: Path, photos: Path, run: str, format: str
) -> None:
    answer = tlx("export", run, f"format={format}")
    assert answer.code == 0, answer.err
    assert "parity    12 test images: probabilities differ by at most" in answer.out
    assert "all labels agree" in answer.out
    folder = tmp_path / "run" / "export" / format
    assert sorted(file.name for file in folder.iterdir()) == read_json(folder / "export.json")["files"]
    check_against_run(tmp_path / "run", format, photos.joinpath, every=1 if format == "onnx" else 6)
    metadata = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    (measured,) = metadata["model-index"][0]["results"]
    result = read_json(tmp_path / "run" / "result.json")
    assert measured["metrics"][0] == {
        "type": "accuracy",
        "name": "accuracy",
        "value": pytest.approx(result["metrics"]["test"]["accuracy"]),
    }
    assert "license" not in metadata
    assert str(tmp_path) not in (folder / "README.md").read_text()


@pytest.mark.slow
def test_the_embedded_data_from_files(tlx: Command, tmp_path: Path) -> None:
    """All 1,297 test digits, written as PNG files, by onnxruntime alone: the accuracy of the run."""
    assert tlx("case=small_similar", "trainer=cpu", "features.profile_up_to=0", "hydra.run.dir=run").code == 0
    assert tlx("export", "run=run", "format=onnx").code == 0
    test = open_source(DigitsData(), 0).test
    files = {test.name(index): tmp_path / f"{index}.png" for index in range(len(test.labels))}
    for index, file in enumerate(files.values()):
        test.read(index).save(file)
    check_against_run(tmp_path / "run", "onnx", files.__getitem__)


def test_adapters_are_merged(tlx: Command, tmp_path: Path, photos: Path) -> None:
    words = ("case=large_similar", *TINY, "freeze=lora", "data=folder", f"data.root={photos}", "data.workers=0")
    assert tlx(*words, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    assert tlx("export", "run=run", "format=timm", "output=out").code == 0
    kept = model_folder.load(tmp_path / "run" / "model").network
    plain = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    assert not [name for name in plain.state_dict() if "parametrizations" in name]
    batch = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(plain(batch), kept(batch), atol=1e-5)
    random = timm.create_model("test_resnet", num_classes=2).state_dict()
    assert not torch.equal(plain.state_dict()["layer1.0.conv1.weight"], random["layer1.0.conv1.weight"])


def test_a_network_of_the_users_own(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    own = (f"backbone.target={name}.MyNet", "backbone.kwargs={width: 8}")
    words = ("backbone=custom", *own, "backbone.image_size=16", "init=scratch", "trainer=cpu", "data=digits")
    assert tlx("case=small_similar", *words, "data.per_class=4", "hydra.run.dir=run").code == 0
    answer = tlx("export", "run=run", "format=torch_export")
    assert (answer.code, "name it again: backbone.target=MODULE.CLASS" in answer.err) == (2, True)
    answer = tlx("export", "run=run", "format=timm", *own)
    assert (answer.code, "its backbone is a network of your own; choose format=onnx" in answer.err) == (2, True)
    answer = tlx("export", "run=run", "format=torch_export", *own)
    assert answer.code == 0, answer.err
    assert "all labels agree" in answer.out


def test_hostile_names_do_nothing(tlx: Command, tmp_path: Path, photos: Path) -> None:
    names = {"blue": "```\n---\nlicense: mit\n# <script>x</script>", "red": '"; import os  #$(id)`'}
    for split in ("train", "val"):
        for old, new in names.items():
            (photos / split / old).rename(photos / split / new.replace("/", "∕"))
    photos = photos.rename(photos.parent / "<b>`x` | --- \n license: mit")
    words = ("case=small_similar", *TINY, "data=folder", f"data.root='{photos}'", "data.workers=0")
    assert tlx(*words, "hydra.run.dir=run").code == 0
    answer = tlx("export", "run=run", "format=timm", "output=out")
    assert answer.code == 0, answer.err
    card = (tmp_path / "out" / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in metadata
    assert set(metadata) == {"library_name", "pipeline_tag", "tags", "metrics", "model-index"}
    assert "<script>" not in card
    assert "<b>" not in card
    assert card.count("\n```") == 6  # three blocks, none of them ended by a name
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["label_names"] == sorted(name.replace("/", "∕") for name in names.values())


def test_an_export_that_says_something_else_gets_no_place(
    tlx: Command, tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FromPixels.__init__

    def mistaken(self: FromPixels, model: Any) -> None:
        original(self, model)
        self.normalise.mean += 100

    monkeypatch.setattr(FromPixels, "__init__", mistaken)
    answer = tlx("export", run, "format=torch_export", "output=out")
    assert answer.code == 1
    assert "tlx: error: the export does not say what the network says; 12 test images: probabilities" in answer.err
    assert "Traceback" not in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "run"]


def test_where_it_goes(tlx: Command, tmp_path: Path, run: str) -> None:
    words = ("export", run, "format=safetensors", "output=out")
    (tmp_path / "out").mkdir()
    assert tlx(*words).code == 0
    before = (tmp_path / "out" / "export.json").read_bytes()
    assert tlx(*words).code == 0  # an earlier export is replaced
    assert (tmp_path / "out" / "export.json").read_bytes() == before
    (tmp_path / "out" / "mine.txt").write_text("x")
    answer = tlx(*words)
    assert answer.code == 2
    assert "output=out holds other things than an earlier export: mine.txt; give another folder" in answer.err
    assert (tmp_path / "out" / "mine.txt").exists()
    answer = tlx("export", "run=nowhere", "format=onnx")
    assert (answer.code, "holds no run" in answer.err) == (2, True)
    answer = tlx("export", run, "format=tflite")
    assert (answer.code, "one of: onnx, torch_export, timm, safetensors" in answer.err) == (2, True)


def test_images_that_are_gone(tlx: Command, photos: Path, run: str) -> None:
    shutil.rmtree(photos)
    answer = tlx("export", run, "format=timm")
    assert answer.code == 0, answer.err
    assert "the run's own test images cannot be read" in answer.out
    assert "parity    14 photographs of scikit-image: probabilities" in answer.out


def test_a_missing_package(tlx: Command, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if "onnx" in name else name)
    answer = tlx("export", run, "format=onnx")
    assert answer.code == 2
    assert "format=onnx needs onnx and onnxscript and onnxruntime; pip install 'tlx[onnx]'" in answer.err


def test_push(tlx: Command, tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(push, "out_of_reach", lambda: "")
    monkeypatch.setattr(
        huggingface_hub, "create_repo", lambda name, **more: calls.append((name, more)) or f"https://hub/{name}"
    )
    monkeypatch.setattr(huggingface_hub, "upload_folder", lambda **more: calls.append(more))
    answer = tlx("export", run, "format=safetensors", "push_to_hub=me/ants")
    assert answer.code == 0, answer.err
    assert "hub       https://hub/me/ants" in answer.out
    assert calls[0] == ("me/ants", {"exist_ok": True})
    folder = tmp_path / "run" / "export" / "safetensors"
    assert (calls[1]["repo_id"], Path(calls[1]["folder_path"])) == ("me/ants", folder)

    def broken(**_: Any) -> None:
        raise ConnectionError("connection reset")

    monkeypatch.setattr(huggingface_hub, "upload_folder", broken)
    answer = tlx("export", run, "format=safetensors", "push_to_hub=me/ants")
    assert answer.code == 3
    assert f"the upload to me/ants broke off: connection reset; try again; the export stands in {folder}" in answer.err
    answer = tlx("export", run, "format=safetensors", "push_to_hub=ants")
    assert (answer.code, "write OWNER/NAME" in answer.err) == (2, True)


def test_push_without_a_network_ends_soon(tlx: Command, tmp_path: Path, run: str) -> None:
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    words = [sys.executable, "-m", "tlx", "export", run, "format=onnx", "push_to_hub=me/ants"]
    started = time.monotonic()
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "Hugging Face's hub cannot be reached (" in done.stderr
    assert time.monotonic() - started < 10
    assert not (tmp_path / "run" / "export").exists()
