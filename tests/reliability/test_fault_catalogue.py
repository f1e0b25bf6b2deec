"""R5: every line of the catalogue of faults, met by a person at the command line.

What is said names the key or the file and the mend, in two lines at most; the exit code says whose fault it is; and
nothing that is not finished looks as if it were. What is proven at length elsewhere has one light case here.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.conftest import TINY, Answer, Scorecard, runs_of
from tests.data.scan.test_catalogue import THREE, make, noise
from tests.interrupting import RUN, interrupt_after
from tlx.errors import InputError
from tlx.features.shard import SUFFIX
from tlx.learner.checkpoints import Checkpoints
from tlx.results.run_folder import RunFolder
from tlx.storage import read_checkpoint

long = pytest.mark.reliability
FEW = ("case=small_similar", *TINY, "data=digits", "data.per_class=4", "features.profile_up_to=0")
DEEP = ("freeze=none", "trainer.max_epochs=1")
OWN = ("case=small_similar", *TINY, "features.profile_up_to=0", "data=folder", "data.root=root")
TABLE = ("case=small_similar", *TINY, "features.profile_up_to=0", "data=table", "data.file=root/table.csv")
WEIGHTS = (*(word for word in FEW if word != "init=scratch"), "init=pretrained")


class Fault(NamedTuple):
    """A fault: what it is called, the words besides the usual, what is said of it, and what makes it."""

    name: str
    words: tuple[str, ...]
    says: tuple[str, ...]
    make: Callable[[Path], object] = lambda root: None
    code: int = 2
    drawn: bool = False  # something is drawn or listed below the message


def cases(faults: list[Fault], *quick: str) -> list[Any]:
    """Take those of a table that are called ``quick`` into the ordinary run, the others into the scorecard alone."""
    assert set(quick) <= {fault.name for fault in faults}
    assert len({fault.name for fault in faults}) == len(faults)
    return [pytest.param(fault, id=fault.name, marks=() if fault.name in quick else long) for fault in faults]


def complaints(answer: Answer, fault: Fault, place: Path) -> list[str]:
    """Say what is not as it should be in how a fault was met."""
    found = []
    said = answer.err if fault.code else answer.out
    if answer.code != fault.code:
        found.append(f"exit code {answer.code}")
    found += [f"{word!r} is in the output" for word in ("Traceback", "bug in tlx") if word in answer.out + answer.err]
    found += [f"{word!r} is not said" for word in fault.says if word not in " ".join(said.split()) + said]
    if fault.code and fault.code < 128 and not answer.err.startswith("tlx: error: "):
        found.append("no error is told")
    if fault.code and answer.err.count("\n") > 2 and not fault.drawn:
        found.append("more than two lines")
    for folder in runs_of(place):
        if (folder / "result.json").exists() and not (folder / "model" / "weights.safetensors").is_file():
            found.append(f"{folder.name} is finished without a model")
        if (folder / "result.json").exists() and fault.code and not (folder.parent / "multirun.yaml").exists():
            found.append(f"{folder.name} has failed with a result")
    return [f"{one}\nout: {answer.out}\nerr: {answer.err}" for one in found]


Meet = Callable[..., Answer]


@pytest.fixture
def meet(tlx: Callable[..., Answer], tmp_path: Path, scorecard: Scorecard) -> Meet:
    """Make a fault, run the command line, and count whether it is handled."""

    def met(fault: Fault, *words: str) -> Answer:
        fault.make(tmp_path / "root")
        answer = tlx(*words, *fault.words)
        wrong = complaints(answer, fault, tmp_path)
        scorecard("R5", {"faults": 1, "not handled": int(bool(wrong))})
        assert wrong == []
        return answer

    return met


# Configuration

CONFIGURATION = [
    Fault("an option that is none", ("optimizer=adam",), ("unknown option optimizer=adam", "'adamw'", "adamw, ")),
    Fault("a key that is none", ("optimizer.lrr=3",), ("'optimizer.lrr'", "'optimizer.lr'", "lr, weight_decay")),
    Fault("a group that is none", ("optimzer=sgd",), ("'optimzer'", "did you mean 'optimizer'", "one of: ")),
    Fault("a wrong type", ("trainer.max_epochs=many",), ("trainer.max_epochs='many' has the wrong type", "number")),
    Fault("an interpolation that leads nowhere", ("optimizer.lr=${no.lr}",), ("optimizer.lr", "no.lr", "${KEY} ")),
    Fault("an environment without the name", ("seed=${oc.env:TLX_NONE}",), ("seed", "oc.env:TLX_NONE,VALUE")),
    Fault("a deletion of nothing", ("~opt=3",), ("'opt'", "did you mean 'optimizer'")),
    Fault("an open bracket", ("optimizer.lr=[1",), ("'optimizer.lr=[1'", "KEY=VALUE")),
    Fault("a cut behind the network", ("cut=stage", "cut.stage=99"),
          ("cut.stage=99 does not exist", "one of: 0 (", "features at 32 px: ", " x ")),
    Fault("a cut before the network", ("cut=stage", "cut.stage=-1"),
          ("cut.stage=-1", "one of: 0 (", "features at 32 px: ", " x ")),
    Fault("a layer that is none", ("cut=layer", "cut.name=layer9"),
          ("cut.name=layer9 does not exist", "did you mean 'layer", "features at 32 px: ", " x ")),
    Fault("a size that the backbone cannot take", ("backbone.name=test_vit", "data.image_size=33"),
          ("cannot take images of 33 pixels", "data.image_size=32 works")),
    Fault("everything frozen", ("freeze=pattern", "freeze.train=[]", "freeze.head=false"),
          ("0 trainable parameters", "freeze.train")),
    Fault("a rule that matches nothing", ("freeze=pattern", "freeze.train=[layer9]"),
          ("'layer9' matches no parameter", "their names are such as layer")),
    Fault("a stage to freeze that is none", ("freeze=upto", "freeze.stage=layer9"), ("layer9", "layer4")),
    Fault("a batch of none", ("data.batch_size=0",), ("data.batch_size=0 is out of range", "at least 1")),
    Fault("a negative batch", ("data.batch_size=-4",), ("data.batch_size=-4 is out of range", "at least 1")),
    Fault("negative epochs", ("trainer.max_epochs=-1",), ("trainer.max_epochs=-1 is out of range", "at least ")),
    Fault("a negative rate", ("optimizer.lr=-1",), ("optimizer.lr=-1", "out of range")),
    Fault("images of no size", ("data.image_size=0",), ("data.image_size=0 is out of range", "at least 1")),
    Fault("a backbone that is none", ("backbone.name=resnet5x",),
          ("unknown backbone 'resnet5x'", "the nearest timm models: resnet5")),
    Fault("a batch larger than the data", (*DEEP, "data.batch_size=4096"),
          ("data.batch_size=4,096 is more than there are: all 40 training images are one step",), code=0),
]  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    cases(
        CONFIGURATION,
        "an option that is none", "a key that is none", "a wrong type", "a deletion of nothing", "a batch of none",
        "an interpolation that leads nowhere", "a cut behind the network", "a size that the backbone cannot take",
        "everything frozen", "a rule that matches nothing",
    ),
)  # fmt: skip
def test_what_is_wrong_with_a_configuration_is_told(meet: Meet, fault: Fault, tmp_path: Path) -> None:
    meet(fault, *FEW)
    if fault.code:
        assert runs_of(tmp_path) == []


def test_a_secret_is_masked_in_all_that_is_saved(meet: Meet, tmp_path: Path) -> None:
    words = (*FEW, "backbone.kwargs={api_key: canary-7f3a}", "hydra.run.dir=run")
    answer = meet(Fault("a secret", (), ("test_resnet",)), *words)
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(b"canary-7f3a" in content for content in kept)
    assert "canary-7f3a" not in answer.out + answer.err


# Data


def tree(**counts: int) -> Callable[[Path], object]:
    return lambda root: make(root, {name.replace("__", "/"): count for name, count in counts.items()})


def spoiled(change: Callable[[Path], object], where: str = "train/cat") -> Callable[[Path], object]:
    """Make three whole splits, and spoil one of their folders."""

    def spoil(root: Path) -> None:
        change(make(root, THREE) / where)

    return spoil


def halved(here: Path) -> None:
    Image.effect_noise((200, 200), 90).save(here / "half.jpg")
    (here / "half.jpg").write_bytes((here / "half.jpg").read_bytes()[:3000])


def turned(here: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(81, (30, 20)).save(here / "turned.jpg", exif=exif)


def modes(here: Path) -> None:
    for mode, ending in (("CMYK", "jpg"), ("P", "png"), ("RGBA", "png"), ("L", "png")):
        noise(60).convert(mode).save(here / f"{mode}.{ending}")
    Image.fromarray(np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)).save(here / "sixteen.png")
    Image.fromarray(np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)).save(here / "float.tif")


def table(*rows: str, header: str = "image,label") -> Callable[[Path], object]:
    def write(root: Path) -> None:
        make(root, {"cat": 4, "dog": 4})
        (root / "table.csv").write_text("\n".join([header, *rows]) + "\n")

    return write


LISTED = [f"{name}/{number}.png,{name}" for name in ("cat", "dog") for number in range(4)]

REFUSED = [
    Fault("no folder", ("data.root=nowhere",), ("data.root=", "/nowhere is no folder", "give a folder")),
    Fault("a flat folder", (), ("has no class folders but 3 images; expected", "ROOT/train/cat/*.jpg"),
          lambda root: make(root, {"": 3}), drawn=True),
    Fault("an empty class", (), ("root/dog has no images", "add images"), tree(cat=4, dog=0)),
    Fault("one class", (), ("one class only: cat", "at least two"), tree(cat=4)),
    Fault("one image a class", (), ("'dog' has too few images to split", "at least three"), tree(cat=4, dog=1)),
    Fault("a class that train lacks", (), ("root/val has classes that train/ lacks: emu", "add them to train/"),
          lambda root: make(root, {**THREE, "val/emu": 2})),
    Fault("a file of zero bytes", (), ("train/cat/zero.jpg (empty: zero bytes)", "data.on_bad=skip"),
          spoiled(lambda here: (here / "zero.jpg").touch())),
    Fault("a page named .jpg", (), ("train/cat/page.jpg (no image: an HTML page)", "data.on_bad=skip"),
          spoiled(lambda here: (here / "page.jpg").write_text("<!DOCTYPE html><html></html>"))),
    Fault("half a file", ("data.scan=full",), ("train/cat/half.jpg (broken", "data.on_bad=skip"), spoiled(halved)),
    Fault("a decompression bomb", (), ("bomb.png (too large: 120 megapixels are more than data.max_megapixels=100)",),
          spoiled(lambda here: Image.new("1", (12_000, 10_000)).save(here / "bomb.png"))),
    Fault("a link that leads out", (), ("out.png leads out of data.root", "data.links=anywhere"),
          spoiled(lambda here: (here / "out.png").symlink_to("/etc/hostname"))),
    Fault("a link that leads back", (), ("links back to a folder that it stands in", "remove the link"),
          spoiled(lambda here: (here.parent / "all").symlink_to(here.parent))),
    Fault("a link that leads nowhere", (), ("train/cat/gone.jpg (gone: ",),
          spoiled(lambda here: (here / "gone.jpg").symlink_to("nowhere.jpg"))),
]  # fmt: skip
TOLD = [
    Fault("a file in two splits", (), ("in different splits: 1 in train, 1 in test", "train/cat/0.png"),
          spoiled(lambda here: shutil.copy(here / "0.png", here.parents[1] / "test/cat/copy.png")), 0),
    Fault("a file under two labels", (), ("under different labels: 2", "train/cat/1.png"),
          spoiled(lambda here: shutil.copy(here / "1.png", here.parent / "dog/copy.png")), 0),
    Fault("extreme imbalance", (), ("45 training images of 'cat' and 4 of 'dog'", "balanced accuracy"),
          lambda root: make(root, {**THREE, "train/cat": 45}), 0),
    Fault("bad images to be skipped", ("data.on_bad=skip",), ("images left out: 1 (1 empty)",),
          spoiled(lambda here: (here / "zero.jpg").touch()), 0),
    Fault("every mode and depth", ("data.scan=full",), ("1 CMYK", "1 P", "1 RGBA", "1 F", "1 I;16"), spoiled(modes), 0),
    Fault("an animated image", (), ("images of several frames, of which the first is taken: 1",),
          spoiled(lambda here: noise(70).save(here / "a.png", save_all=True, append_images=[noise(71)])), 0),
    Fault("an image that EXIF turns", (), ("turned",), spoiled(turned), 0),
    Fault("an image of one pixel", (), ("images of less than 8 pixels on a side: 1, such as train/cat/one.png",),
          spoiled(lambda here: Image.new("RGB", (1, 1)).save(here / "one.png")), 0),
    Fault("dot files and dot folders", (), ("ignored, for their names begin with a dot: 2",),
          lambda root: (make(root, {**THREE, "train/.ipynb_checkpoints": 1}) / "train/cat/._0.png").touch(), 0),
    Fault("unsupported endings", (), ("no images by their ending: 1 .heic",),
          spoiled(lambda here: (here / "a.heic").touch()), 0),
    Fault("a loop of links", (), ("links to folders inside a class, not followed: 1",),
          spoiled(lambda here: (here / "loop").symlink_to(here.parent)), 0),
    Fault("splits that sort otherwise", (), ("10", "9", "Zebra", "ant"),
          lambda root: make(root, {f"{s}/{n}": 3 for s in ("val", "train") for n in ("Zebra", "ant", "10", "9")}),
          0),
    Fault("a name that is no UTF-8", (), ("under different labels", r"not\udcffutf8 \x1b[2J.png",),
          spoiled(lambda here: shutil.copy(here.parent / "dog/0.png", here / os.fsdecode(b"not\xffutf8 \x1b[2J.png"))),
          0),
]  # fmt: skip
TABLES = [
    Fault("no table", (), ("root/table.csv",)),
    Fault("a missing column", (), ("label", "image"), table("cat/0.png,cat", header="image,name")),
    Fault("a path that leaves the root", (), ("leads out of", "row 2 ('../out.png')", "data.root=PATH"),
          table(LISTED[0], "../out.png,cat", *LISTED[1:])),
    Fault("an image that is missing", (), ("row 9 ('cat/9.png')", "data.root="), table(*LISTED, "cat/9.png,cat")),
    Fault("a label that train lacks", ("data.split_column=split",), ("row 9 ('emu')", "add images of it to train"),
          table(*(f"{row},train" for row in LISTED), "cat/0.png,emu,val", header="image,label,split")),
]  # fmt: skip


@pytest.mark.parametrize("fault", cases(REFUSED, "no folder", "a flat folder", "a page named .jpg"))
def test_images_that_cannot_be_learned_from_are_told(meet: Meet, fault: Fault, tmp_path: Path) -> None:
    words = tuple(word for word in OWN if word != "data.root=root" or "data.root=nowhere" not in fault.words)
    meet(fault, *words)
    assert all((folder / "data.json").is_file() for folder in runs_of(tmp_path))  # the list of the bad ones


@long
@pytest.mark.parametrize("fault", cases(TOLD))
def test_what_is_odd_about_images_is_told(meet: Meet, fault: Fault) -> None:
    meet(fault, "inspect", *OWN)


@pytest.mark.parametrize("fault", cases(TABLES, "a path that leaves the root"))
def test_what_is_wrong_with_a_table_is_told(meet: Meet, fault: Fault, tmp_path: Path) -> None:
    meet(fault, *TABLE)
    assert runs_of(tmp_path) == []


@long
def test_what_is_left_out_is_counted_in_the_result(meet: Meet, tmp_path: Path) -> None:
    fault = Fault("left out", ("data.on_bad=skip",), (), spoiled(lambda here: (here / "zero.jpg").touch()), 0)
    meet(fault, *OWN)
    (folder,) = runs_of(tmp_path)
    result = json.loads((folder / "result.json").read_text())
    assert result["images_left_out"] == 1
    assert result["metrics"]["test"]["balanced_accuracy"] >= 0


# Weights


def saved(name: str = "test_resnet", **others: Any) -> dict[str, torch.Tensor]:
    return dict(timm.create_model(name, pretrained=False, **others).state_dict())


def file(weights: Callable[[], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    return lambda root: save_file(weights(), root.with_name("w.safetensors"))


class Code:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("mark"),)


GIVEN = ("init.file=w.safetensors",)
BROKEN = [
    Fault("another architecture", GIVEN,
          ("is of another architecture", "0 of 75 kept tensors match (0 %)", "a vision transformer"),
          file(lambda: saved("test_vit"))),
    Fault("weights for other channels", GIVEN, ("is for images of 1 channel", "read as RGB"),
          file(lambda: saved(in_chans=1))),
    Fault("half a file of weights", GIVEN, ("w.safetensors is truncated",),
          lambda root: (file(saved)(root), os.truncate(root.with_name("w.safetensors"), 5000))),
    Fault("code in a file of weights", ("init.file=w.pth",), ("w.pth is damaged or holds more", "safetensors"),
          lambda root: torch.save({"state_dict": saved(), "more": Code()}, root.with_name("w.pth"))),
    Fault("weights missing inside", GIVEN, ("lacks weights inside what the cut keeps: layer1.0.conv1.weight",),
          file(lambda: {name: t for name, t in saved().items() if name != "layer1.0.conv1.weight"})),
]  # fmt: skip


@pytest.mark.parametrize("fault", cases(BROKEN, "another architecture"))
def test_weights_that_do_not_serve_are_refused(meet: Meet, fault: Fault, tmp_path: Path) -> None:
    meet(fault, *WEIGHTS)
    assert runs_of(tmp_path) == []
    assert not (tmp_path / "mark").exists()


@long
def test_a_hub_out_of_reach_is_told_soon(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed.getsockname()[1]}")
        began = time.monotonic()
        says = ("the hub is out of reach", "init.file=PATH", "init.cache=PATH", "backbone=embedded")
        meet(Fault("the hub", ("init.cache=none",), says), *WEIGHTS)
    assert time.monotonic() - began < 10


# Numbers


def in_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Any], object]) -> None:
    """Do something to the learner behind a training step, counted from 1 over all epochs."""
    original, seen = Checkpoints.on_train_batch_end, 0

    def acting(self: Checkpoints, trainer: Any, learner: Any, *rest: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            act(learner)
        original(self, trainer, learner, *rest)

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", acting)


@long
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    in_step(monkeypatch, 6, lambda learner: learner.network.head.linear.weight.data.fill_(float(value)))
    says = ("loss", "lower optimizer.lr", "the last good checkpoint is kept")
    meet(Fault(value, (), says, code=4), *RUN, "hydra.run.dir=outputs/run")
    state = read_checkpoint(tmp_path / "outputs" / "run" / "checkpoints" / "train" / "last.ckpt")["state_dict"]
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())


@long
def test_a_batch_of_one_image_is_merged_or_refused(meet: Meet) -> None:
    fault = Fault("a tail of one", (*DEEP, "data.batch_size=13"), ("one image alone is too few for a step",), code=0)
    meet(fault, *FEW, "hydra.run.dir=tail")
    # At 32 px the last BatchNorms of this network see a single value of an image.
    says = ("cannot train on one image a step", "give data.batch_size=2 or more")
    meet(Fault("batches of one", (*DEEP, "data.batch_size=1"), says), *FEW)


# Machine


@long
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_disk_that_takes_no_more_is_the_machines_and_the_old_state_stays(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    place = tmp_path / "outputs" / "run" / "checkpoints" / "train" / "last.ckpt"
    original, before = Path.open, b""

    def refusing(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        nonlocal before
        if self.name.startswith(".last.ckpt") and place.exists():
            before = place.read_bytes()
            raise OSError(number, os.strerror(number), str(self))
        return original(self, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", refusing)
    meet(Fault("disk", (), (os.strerror(number), "last.ckpt"), code=3), *RUN, "hydra.run.dir=outputs/run")
    assert before
    assert place.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told_at_the_start(meet: Meet) -> None:
    fault = Fault("no folder", (), ("/dev/null/run", "choose another folder"), code=3)
    meet(fault, *FEW, "hydra.run.dir=/dev/null/run")


@long
def test_too_little_memory_is_the_machines_with_what_to_lower(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    in_step(monkeypatch, 2, fail)
    meet(Fault("memory", (), ("out of memory; lower data.batch_size",), code=3), *RUN, "hydra.run.dir=outputs/run")


@long
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_is_answered_with_the_command_that_goes_on(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    interrupt_after(monkeypatch, 2, "on_train_batch_end", sent)
    says = ("the state is saved", "python -m tlx resume run=outputs/run")
    meet(Fault(sent.name, (), says, code=code), *RUN, "hydra.run.dir=outputs/run")
    assert read_checkpoint(tmp_path / "outputs" / "run" / "checkpoints" / "train" / "last.ckpt")


@long
def test_small_shared_memory_is_told_and_needs_no_workers(meet: Meet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.data.shared_memory.free", lambda: 65_536)
    says = ("has room for 0 of 2 worker processes", "images are read by this process")
    meet(Fault("shm", (*DEEP, "data.workers=2"), says, code=0), *FEW)


@long
def test_a_corrupt_cache_is_computed_again_and_a_stale_one_is_none(
    meet: Meet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLX_CACHE", str(tmp_path / "cache"))

    def result(folder: str) -> dict[str, Any]:
        return json.loads((tmp_path / "outputs" / folder / "result.json").read_text())

    make(tmp_path / "root", THREE)
    meet(Fault("a cache", (), (), code=0), *OWN, "hydra.run.dir=outputs/one")
    for picture in (tmp_path / "root").rglob("*.png"):
        os.utime(picture, (1, 1))  # of another time, and the same for all that
    meet(Fault("old times", (), (), code=0), *OWN, "hydra.run.dir=outputs/two")
    assert (result("one")["bank"]["computed"], result("two")["bank"]["computed"]) == (24, 0)
    shards = list((tmp_path / "cache").rglob(f"*{SUFFIX}"))
    assert shards
    for path in shards:
        content = bytearray(path.read_bytes())
        content[-100] ^= 4
        path.write_bytes(content)
    meet(Fault("a flipped bit", (), ("damaged",), code=0), *OWN, "hydra.run.dir=outputs/three")
    assert result("three")["bank"]["computed"] > 0
    assert result("three")["metrics"] == result("one")["metrics"]
    noise(900).save(tmp_path / "root" / "train" / "cat" / "0.png")
    meet(Fault("another image", (), (), code=0), *OWN, "hydra.run.dir=outputs/four")
    assert result("four")["bank"]["computed"] == 1


@long
@pytest.mark.parametrize("step", [2, 12], ids=["in an epoch", "at the end"])
def test_a_run_folder_that_vanishes_is_no_success(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int
) -> None:
    in_step(monkeypatch, step, lambda _: shutil.rmtree(tmp_path / "outputs" / "run"))
    meet(Fault("gone", (), ("cannot write", "outputs/run"), code=3, drawn=True), *RUN, "hydra.run.dir=outputs/run")
    assert not (tmp_path / "outputs" / "run" / "result.json").exists()


@long
def test_a_run_folder_that_vanishes_while_features_are_computed_is_no_success(
    meet: Meet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tlx.training import phases

    original = phases.solve

    def losing(*given: Any) -> Any:
        shutil.rmtree(tmp_path / "outputs" / "run")
        return original(*given)

    monkeypatch.setattr(phases, "solve", losing)
    meet(Fault("gone", (), ("cannot write",), code=3, drawn=True), *FEW, "hydra.run.dir=outputs/run")
    assert not (tmp_path / "outputs" / "run" / "result.json").exists()


# Sweep


@long
def test_of_a_sweep_the_others_finish_and_the_failure_is_listed(meet: Meet, tmp_path: Path) -> None:
    words = ("-m", *FEW, "cut=stage", "cut.stage=0,99", "hydra.sweep.dir=outputs/sweep")
    meet(Fault("a job that fails", (), ("cut.stage=99 does not exist",), drawn=True), *words)
    rows = (tmp_path / "outputs" / "sweep" / "comparison.csv").read_text()
    assert "cut.stage=99 does not exist" in rows
    assert len(list((tmp_path / "outputs" / "sweep").glob("*/model/weights.safetensors"))) == 1


def begin(folder: Path, gate: Any, told: Any) -> None:
    gate.wait()
    try:
        RunFolder.create(folder, {"process": os.getpid()})
        told.put(os.getpid())
    except InputError as error:
        told.put(str(error))


def test_of_runs_that_meet_in_a_folder_one_has_it(tmp_path: Path, scorecard: Scorecard) -> None:
    """All at the same moment, ten times."""
    processes = multiprocessing.get_context("fork")
    wrong = 0
    for number in range(10):
        gate, told = processes.Barrier(5), processes.Queue()
        folder = tmp_path / str(number)
        runs = [processes.Process(target=begin, args=(folder, gate, told)) for _ in range(5)]
        for run in runs:
            run.start()
        answers = [told.get(timeout=60) for _ in runs]
        for run in runs:
            run.join()
        owners, refused = ([one for one in answers if isinstance(one, kind)] for kind in (int, str))
        kept = json.loads((folder / "config.json").read_text())["process"]
        wrong += not (owners == [kept] and len(refused) == 4 and all("already holds a run" in one for one in refused))
    scorecard("R5", {"faults": 1, "not handled": int(wrong > 0)})
    assert wrong == 0


def test_fifty_runs_of_one_second_have_fifty_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard
) -> None:
    """A thousand times fifty names: of four letters each, some fifty would meet."""
    from tlx.__main__ import compose

    monkeypatch.chdir(tmp_path)
    names = []
    monkeypatch.setattr("hydra.main", lambda **_: lambda job: lambda: names.append(os.environ["TLX_UNIQUE"]))
    for _ in range(1000):
        compose("train", [], lambda config: None)
    monkeypatch.delenv("TLX_UNIQUE")
    scorecard("R5", {"faults": 1, "not handled": int(len(set(names)) < 1000)})
    assert len(set(names)) == 1000
    assert len({name[:4] for name in names}) < 1000  # negative control: shorter ones do meet


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """Negative control of all tests above."""
    fault = Fault("x", (), ("the key", "the mend"))
    good = Answer(2, "", "tlx: error: the key; the mend\n")
    assert complaints(good, fault, tmp_path) == []
    bad = {
        "exit code 1": good._replace(code=1),
        "'Traceback' is in": good._replace(out="Traceback"),
        "'bug in tlx' is in": good._replace(err=good.err + "bug in tlx"),
        "'the mend' is not said": good._replace(err="tlx: error: the key\n"),
        "no error is told": good._replace(err="the key; the mend\n"),
        "more than two lines": good._replace(err=good.err + "a\nb\nc\n"),
    }
    for told, answer in bad.items():
        assert any(one.startswith(told) for one in complaints(answer, fault, tmp_path)), told
    run = tmp_path / "outputs" / "run"
    run.mkdir(parents=True)
    for name in ("config.json", "result.json"):
        (run / name).touch()
    assert len(complaints(good, fault, tmp_path)) == 2
