"""Every format says what the network says, at every cut and under every head that it can hold; else it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch

from tests.export.small import CLASSES, images, parity, subject
from tlx.config.groups import (
    AllCut,
    CosineHead,
    HeadCut,
    LayerCut,
    LinearHead,
    MlpHead,
    NeighboursHead,
    StageCut,
)
from tlx.errors import InputError, ParityError
from tlx.export.formats import FORMATS
from tlx.export.from_pixels import FromPixels
from tlx.export.parity import compared
from tlx.export.reference import reference
from tlx.export.subject import Subject
from tlx.network import model_folder

KNN = NeighboursHead(k=7, temperature=0.07, sharpness=1.5, rows=50)
# A cut, a head and a backbone each: what a person can have.
NETWORKS: dict[str, dict[str, Any]] = {
    "stage": {"cut": StageCut(stage=1), "head": LinearHead(pool="gem")},
    "knn": {"head": KNN},
    "mlp": {"cut": LayerCut(name="layer2"), "head": MlpHead()},
    "cosine": {"head": CosineHead()},
    "all": {"cut": AllCut()},
    "token": {"name": "test_vit", "cut": LayerCut(name="norm"), "size": 64},
    "attention": {"name": "test_vit", "head": LinearHead(pool="attention"), "size": 64},
}
CLOSE = 1e-5


def some(*quick: str) -> list[Any]:
    """Leave the others, a few seconds each, to the long proofs."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


@pytest.mark.parametrize("which", some("knn"))
def test_torch_export_holds_any_network(tmp_path: Path, which: str) -> None:
    assert parity("torch_export", tmp_path / "to", subject(tmp_path / "model", **NETWORKS[which])).difference < CLOSE


@pytest.mark.parametrize("which", some())
def test_onnx_holds_any_network(tmp_path: Path, which: str) -> None:
    assert parity("onnx", tmp_path / "to", subject(tmp_path / "model", **NETWORKS[which])).difference < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("name", timm.list_models("test_*"))
@pytest.mark.parametrize("format", FORMATS)
def test_every_small_model_of_timm(tmp_path: Path, name: str, format: str) -> None:
    one = subject(tmp_path / "model", name=name, size=160)
    assert parity(format, tmp_path / "to", one).difference < CLOSE


@pytest.mark.parametrize(("format", "file"), [("onnx", "model.onnx"), ("torch_export", "model.pt2")])
def test_one_image_or_several_of_any_size(tmp_path: Path, format: str, file: str) -> None:
    """The file says what it needs to be used, and names no place of the machine that wrote it."""
    one = subject(tmp_path / "model")
    assert parity(format, tmp_path, one).difference < CLOSE
    content = (tmp_path / file).read_bytes()
    assert not [place for place in (b"site-packages", b".py", str(tmp_path).encode()) if place in content]
    told = dict.fromkeys(("classes.json", "temperature.json", "preprocessing.json"), "")
    if format == "onnx":
        onnx.checker.check_model(model := onnx.load(tmp_path / file))
        told = {f"{prop.key}.json": prop.value for prop in model.metadata_props}
    else:
        program = torch.export.load(tmp_path / file, extra_files=told)
    assert json.loads(told["classes.json"]) == CLASSES
    assert json.loads(told["temperature.json"]) == 1.3
    assert json.loads(told["preprocessing.json"])["image_size"] == 32
    single = FORMATS[format].read(tmp_path, one)
    for count in (1, 3):
        batch = np.stack([np.asarray(image) for image in [images()[0], images()[0].rotate(180), images()[0]][:count]])
        if format == "onnx":
            session = onnxruntime.InferenceSession(tmp_path / file)
            (found,) = session.run(None, {"images": batch})
            assert [i.shape for i in session.get_inputs()] == [["batch", "height", "width", 3]]
        else:
            found = program.module()(torch.from_numpy(batch)).numpy()
        assert found.shape == (count, len(CLASSES))
        assert np.allclose(found[-1], single(images()[0]), atol=CLOSE)


def test_plain_timm_gives_equal_logits(tmp_path: Path) -> None:
    one = subject(tmp_path / "model", name="test_vit", size=64)  # not its own size: an argument of its constructor
    assert parity("timm", tmp_path, one).difference < CLOSE
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    batch = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(plain(batch), one.model.network(batch), atol=1e-5)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["label_names"], config["temperature"]) == (CLASSES, 1.3)
    assert plain.pretrained_cfg["input_size"] == (3, 64, 64)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"cut": StageCut(stage=1)}, "it was cut behind layer1"),
        ({"head": MlpHead()}, "its head is mlp"),
        ({"head": KNN}, "its head is neighbours"),
        ({"head": LinearHead(pool="max"), "cut": HeadCut()}, "it has its own pooling, head.pool=max"),
    ],
)
def test_timm_says_what_it_cannot_hold(tmp_path: Path, network: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        FORMATS["timm"].write(tmp_path, subject(tmp_path / "model", **network))
    assert "choose format=onnx or format=torch_export" in str(error.value)


def test_safetensors_are_read_again_by_tlx(tmp_path: Path) -> None:
    one = subject(tmp_path / "model")
    assert parity("safetensors", tmp_path / "to", one).difference == 0
    again = model_folder.load(tmp_path / "to")
    assert (again.classes, again.temperature, again.preprocessing) == (CLASSES, 1.3, one.model.preprocessing)


@pytest.mark.parametrize("wrong", ["nothing", "mean", "std", "temperature", "interpolation", "classes"])
def test_the_check_sees_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    original = FromPixels.__init__

    def mistaken(self: FromPixels, model: Any) -> None:
        original(self, model)
        if wrong in ("mean", "std"):
            self.normalise.register_buffer(wrong, getattr(self.normalise, wrong) * 0.7)
        elif wrong == "temperature":
            self.temperature = 1.0
        elif wrong == "interpolation":
            self.resize.interpolation = "nearest"
        elif wrong == "classes":
            self.head.linear.weight.data = self.head.linear.weight.flip(0)

    monkeypatch.setattr(FromPixels, "__init__", mistaken)
    one = subject(tmp_path / "model")
    expected = np.stack(list(map(reference(one.model), images())))
    graph = FromPixels(one.model)  # what is captured
    found = np.concatenate([graph(torch.from_numpy(np.array(image))[None]).numpy() for image in images()])
    if wrong == "nothing":
        assert compared(expected, found, "images").difference < CLOSE
        return
    with pytest.raises(ParityError, match="does not say what the network says"):
        compared(expected, found, "images")


def test_a_network_that_takes_one_image_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = subject(tmp_path / "model")
    trunk = one.model.network.trunk
    original = trunk.forward
    monkeypatch.setattr(trunk, "forward", lambda images: original(images.view(1, 3, 32, 32)))
    assert FORMATS["torch_export"].write(tmp_path, one) == "one image at a time"


def test_a_network_that_cannot_be_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one: Subject = subject(tmp_path / "model")
    trunk = one.model.network.trunk
    original = trunk.forward
    monkeypatch.setattr(trunk, "forward", lambda images: original(images * float(images.mean() > 0)))
    with pytest.raises(InputError, match=r"torch.export cannot capture this network: .*choose format=timm"):
        FORMATS["torch_export"].write(tmp_path, one)
