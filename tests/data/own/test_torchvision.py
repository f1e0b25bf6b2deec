"""torchvision's sets: written to disk as the originals lie there, opened, compared with torchvision, trained on."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from tests.conftest import TINY, Answer, runs_of
from tests.data.own.forms import complaint
from tlx.config.groups import TorchvisionData
from tlx.data.open import open_source
from tlx.data.own.torchvision import ENTRIES, open_torchvision
from tlx.data.source import SPLITS
from tlx.errors import EXIT_INPUT, EXIT_MACHINE, MachineError

Patch = pytest.MonkeyPatch
RNG = np.random.default_rng(0)
A_CLASS = {"train": 4, "val": 2, "test": 3}  # images


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 255, shape, dtype=np.uint8)


def photo(file: Path, size: tuple[int, int] = (20, 24)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*size, 3)).save(file)


def listed(classes: int, split: str) -> list[int]:
    """Number the classes of a split's images, in no order of theirs."""
    return [k for _ in range(A_CLASS[split]) for k in reversed(range(classes))]


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def cifar(root: Path, patch: Patch, kind: type, label: str, classes: int) -> None:
    folder = root / kind.base_folder  # type: ignore[attr-defined]
    folder.mkdir(parents=True)
    for parts, split in ((kind.train_list, "train"), (kind.test_list, "test")):  # type: ignore[attr-defined]
        written = []
        for name, _ in parts:
            numbers = listed(classes, split)
            content = {"data": noise(len(numbers), 3072), label: numbers}
            (folder / name).write_bytes(pickle.dumps(content))
            written.append([name, md5(folder / name)])
        patch.setattr(kind, f"{split}_list", written)
    meta = {**kind.meta}  # type: ignore[attr-defined]
    (folder / meta["filename"]).write_bytes(pickle.dumps({meta["key"]: [f"thing {k}" for k in range(classes)]}))
    patch.setattr(kind, "meta", {**meta, "md5": md5(folder / meta["filename"])})


def cifar10(root: Path, patch: Patch) -> None:
    cifar(root, patch, datasets.CIFAR10, "labels", 10)


def cifar100(root: Path, patch: Patch) -> None:
    cifar(root, patch, datasets.CIFAR100, "fine_labels", 100)


def idx(root: Path, name: str) -> None:
    """Write MNIST's own format: a magic number, sizes, bytes."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for word, split in (("train", "train"), ("t10k", "test")):
        numbers = np.array(listed(10, split), np.uint8)
        images = noise(len(numbers), 28, 28)
        (folder / f"{word}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
        (folder / f"{word}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(numbers)) + numbers.tobytes())


def svhn(root: Path, patch: Patch) -> None:
    root.mkdir(parents=True)
    splits = {}
    for split in ("train", "test"):
        numbers = np.array(listed(10, split)).reshape(-1, 1)
        file = root / f"{split}_32x32.mat"
        savemat(file, {"X": noise(32, 32, 3, len(numbers)), "y": np.where(numbers == 0, 10, numbers)})
        splits[split] = ["", file.name, md5(file)]
    patch.setattr(datasets.SVHN, "split_list", splits)


def stl10(root: Path, patch: Patch) -> None:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join(f"thing {k}" for k in range(10)))
    for split in ("train", "test"):
        numbers = listed(10, split)
        noise(len(numbers), 3, 96, 96).tofile(folder / f"{split}_X.bin")
        (np.array(numbers, np.uint8) + 1).tofile(folder / f"{split}_y.bin")
        names = (f"{split}_X.bin", f"{split}_y.bin")
        patch.setattr(datasets.STL10, f"{split}_list", [[name, md5(folder / name)] for name in names])


def gtsrb(root: Path, _: Patch) -> None:
    folder = root / "gtsrb"
    for k in range(3):
        for i in range(A_CLASS["train"]):
            photo(folder / "GTSRB" / "Training" / f"{k:05d}" / f"{i:05d}.ppm")
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for i, k in enumerate(listed(3, "test")):
        photo(folder / "GTSRB" / "Final_Test" / "Images" / f"{i:05d}.ppm")
        lines.append(f"{i:05d}.ppm;24;20;0;0;9;9;{k}")
    (folder / "GT-final_test.csv").write_text("\n".join(lines) + "\n")


def dtd(root: Path, _: Patch) -> None:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for split in SPLITS:
        names = [f"{'abc'[k]}/{'abc'[k]}_{split}{i:04d}.jpg" for i, k in enumerate(listed(3, split))]
        for name in names:
            photo(folder / "images" / name)
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(names) + "\n")


def flowers(root: Path, patch: Patch) -> None:
    folder = root / "flowers-102"
    labels, ids = [], {}
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        ids[key] = [len(labels) + i + 1 for i in range(3 * A_CLASS[split])]
        labels += [k + 1 for k in listed(3, split)]
    for number in range(len(labels)):
        photo(folder / "jpg" / f"image_{number + 1:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels])})
    savemat(folder / "setid.mat", {key: np.array([value]) for key, value in ids.items()})
    names = {"label": "imagelabels.mat", "setid": "setid.mat"}
    known = datasets.Flowers102._file_dict
    patch.setattr(datasets.Flowers102, "_file_dict", {**known, **{k: (n, md5(folder / n)) for k, n in names.items()}})


def pets(root: Path, _: Patch) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for word, split in (("trainval", "train"), ("test", "test")):
        lines = []
        for i, k in enumerate(listed(3, split)):
            name = f"{('Bengal', 'saint_bernard', 'pug')[k]}_{split}{i}"
            photo(folder / "images" / f"{name}.jpg")
            lines.append(f"{name} {k + 1} 1 1")
        (folder / "annotations" / f"{word}.txt").write_text("\n".join(lines) + "\n")


def class_folders(root: Path, names: tuple[str, ...] = ("a", "b", "c"), count: int = 6, ending: str = "jpg") -> None:
    for name in names:
        for i in range(count):
            photo(root / name / f"{name}_{i}.{ending}")


def food(root: Path, _: Patch) -> None:
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    for split in ("train", "test"):
        held = {name: [f"{name}/{split}{i}" for i in range(A_CLASS[split])] for name in ("waffles", "churros", "pho")}
        for path in (path for paths in held.values() for path in paths):
            photo(folder / "images" / f"{path}.jpg")
        (folder / "meta" / f"{split}.json").write_text(json.dumps(held))


def aircraft(root: Path, _: Patch) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    (folder / "images").mkdir(parents=True)
    names = ("707-320", "A300B4", "DH-82")
    (folder / "variants.txt").write_text("\n".join(names) + "\n")
    for split in SPLITS:
        lines = []
        for i, k in enumerate(listed(3, split)):
            photo(folder / "images" / f"{split}{i}.jpg")
            lines.append(f"{split}{i} {names[k]}")
        (folder / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")


def countries(root: Path, _: Patch) -> None:
    for split in ("train", "valid", "test"):
        class_folders(root / "country211" / split, ("AD", "AE"))


LAYOUTS: dict[str, Callable[[Path, Patch], None]] = {
    "CIFAR10": cifar10,
    "CIFAR100": cifar100,
    "Country211": countries,
    "DTD": dtd,
    "EuroSAT": lambda root, _: class_folders(root / "eurosat" / "2750"),
    "FGVCAircraft": aircraft,
    "FashionMNIST": lambda root, _: idx(root, "FashionMNIST"),
    "Flowers102": flowers,
    "Food101": food,
    "GTSRB": gtsrb,
    "KMNIST": lambda root, _: idx(root, "KMNIST"),
    "MNIST": lambda root, _: idx(root, "MNIST"),
    "OxfordIIITPet": pets,
    "STL10": stl10,
    "SVHN": svhn,
}
CLASSES = {
    "CIFAR10": [f"thing {k}" for k in range(10)],
    "DTD": ["a", "b", "c"],
    "EuroSAT": ["a", "b", "c"],
    "Flowers102": ["pink primrose", "hard-leaved pocket orchid", "canterbury bells"],
    "Food101": ["churros", "pho", "waffles"],
    "GTSRB": ["0", "1", "2"],
    "MNIST": ["0 - zero", "1 - one", "2 - two"],
    "OxfordIIITPet": ["Bengal", "Saint Bernard", "Pug"],
    "SVHN": [str(k) for k in range(10)],
}


def test_every_set_has_its_layout_here() -> None:
    assert set(LAYOUTS) == set(ENTRIES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_images_and_classes_are_those_of_torchvision(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    LAYOUTS[name](tmp_path / "sets", monkeypatch)
    found = open_torchvision(TorchvisionData(name=name, root=str(tmp_path / "sets")))
    assert list(found.classes[: len(CLASSES.get(name, []))]) == CLASSES.get(name, [])
    assert set(found.given) == set(ENTRIES[name].splits)
    for split, how in ENTRIES[name].splits.items():
        own, images = getattr(datasets, name)(str(tmp_path / "sets"), **how), found.given[split]
        assert len(images.labels) == len(own) > 0
        assert len({images.name(i) for i in range(len(own))}) == len(own)
        for index, (picture, label) in enumerate(own):
            assert int(images.labels[index]) == label
            assert images.read(index).mode == "RGB"
            assert np.array_equal(np.asarray(images.read(index)), np.asarray(picture.convert("RGB")))
        assert len(np.unique(images.digests)) == len(own)


@pytest.mark.parametrize(("name", "sizes"), [("DTD", (12, 6, 9)), ("GTSRB", (9, 3, 9)), ("EuroSAT", (12, 3, 3))])
def test_splits_are_the_sets_own_and_else_carved(
    name: str, sizes: tuple[int, ...], tmp_path: Path, monkeypatch: Patch
) -> None:
    LAYOUTS[name](tmp_path / "sets", monkeypatch)
    source = open_source(TorchvisionData(name=name, root=str(tmp_path / "sets")), 0)
    assert tuple(len(source.split(s).labels) for s in SPLITS) == sizes
    assert source.in_memory is False


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "EuroSAT"])
def test_a_set_trains(name: str, tmp_path: Path, monkeypatch: Patch, tlx: Callable[..., Answer]) -> None:
    LAYOUTS[name](tmp_path / "sets", monkeypatch)
    answer = tlx("case=small_similar", "data=torchvision", f"data.name={name}", "data.root=sets", *TINY)
    assert (answer.code, answer.err) == (0, "")
    (run,) = runs_of(tmp_path)
    result = json.loads((run / "result.json").read_text())
    assert (result["data"], result["num_classes"]) == (name, 3 if name == "EuroSAT" else 10)


def test_pixels_in_memory_are_prepared_in_this_process(tmp_path: Path, monkeypatch: Patch) -> None:
    cifar10(tmp_path, monkeypatch)
    assert open_source(TorchvisionData(name="CIFAR10", root=str(tmp_path)), 0).in_memory


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_set_that_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    said = complaint(TorchvisionData(name=name, root=str(tmp_path)))
    assert said == (
        f"torchvision's {name} is not in {tmp_path}, or not whole; "
        "fetch it (data.download=true) or give another data.root=PATH"
    )


def test_a_set_that_is_not_there_ends_the_command(tmp_path: Path, tlx: Callable[..., Answer]) -> None:
    answer = tlx("case=small_similar", "data=torchvision", "data.name=CIFAR10", "data.root=sets", *TINY)
    assert answer.code == EXIT_INPUT
    assert "Traceback" not in answer.err
    assert "fetch it (data.download=true)" in " ".join(answer.err.split())


@pytest.mark.parametrize("name", ["CIFAR", "FakeData", "VOCDetection", "os", "__class__"])
def test_no_other_class_is_made(name: str, tmp_path: Path) -> None:
    said = complaint(TorchvisionData(name=name, root=str(tmp_path)))
    assert f"data.name={name} is no set of torchvision that tlx reads; " in said
    assert "CIFAR10, CIFAR100, Country211" in said


def test_a_pickle_of_another_checksum_is_not_loaded(tmp_path: Path, monkeypatch: Patch) -> None:
    cifar10(tmp_path, monkeypatch)
    mark = tmp_path / "mark"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(pickle.dumps(Bomb()))
    assert "is not in" in complaint(TorchvisionData(name="CIFAR10", root=str(tmp_path)))
    assert not mark.exists()
    pickle.loads(file.read_bytes())
    assert mark.exists()  # the bomb was live


def test_a_damaged_file_is_told(tmp_path: Path, monkeypatch: Patch) -> None:
    food(tmp_path, monkeypatch)
    (tmp_path / "food-101" / "meta" / "test.json").write_text("{")
    said = complaint(TorchvisionData(name="Food101", root=str(tmp_path)))
    assert f"torchvision's Food101 in {tmp_path} cannot be read (" in said
    assert said.endswith("remove it and fetch it again: data.download=true")


def test_classes_that_train_lacks_are_told(tmp_path: Path, monkeypatch: Patch) -> None:
    food(tmp_path, monkeypatch)
    (tmp_path / "food-101" / "meta" / "test.json").write_text('{"sushi": ["waffles/test0"]}')
    said = complaint(TorchvisionData(name="Food101", root=str(tmp_path)))
    assert f"Food101 in {tmp_path} has test images of classes that its train images lack; remove it" in said


def test_what_may_not_be_read_is_the_machines_fault(tmp_path: Path, monkeypatch: Patch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "some.bin")

    monkeypatch.setattr(datasets, "MNIST", refuse)
    with pytest.raises(MachineError, match=r"some\.bin may not be read or written; change its permissions") as caught:
        open_torchvision(TorchvisionData(name="MNIST", root=str(tmp_path)))
    assert caught.value.exit_code == EXIT_MACHINE


def test_a_download_is_asked_for_only_where_the_set_is_missing(tmp_path: Path, monkeypatch: Patch) -> None:
    fetched = []

    def fetch(self: Any) -> None:
        fetched.append(self.train)
        if not self._check_exists():
            idx(tmp_path, "MNIST")

    monkeypatch.setattr(datasets.MNIST, "download", fetch)
    config = TorchvisionData(name="MNIST", root=str(tmp_path), download=True)
    assert len(open_source(config, 0).test.labels) == 10 * A_CLASS["test"]
    assert len(fetched) == 1
    open_source(config, 0)
    assert len(fetched) == 1


def test_a_download_that_fails_is_told_in_time(tmp_path: Path, monkeypatch: Patch) -> None:
    import socket

    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr("tlx.data.own.torchvision.TIMEOUT_S", 0.5)
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        started = time.monotonic()
        said = complaint(TorchvisionData(name="MNIST", root=str(tmp_path), download=True))
    assert "torchvision's MNIST cannot be fetched (" in said
    assert said.endswith(f"fetch it elsewhere and copy it to {tmp_path}")
    assert time.monotonic() - started < 10
    assert socket.getdefaulttimeout() is None
