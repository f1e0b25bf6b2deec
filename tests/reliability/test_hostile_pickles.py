"""R9: wherever a file is read that may come from others, nothing that is packed in it is executed."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml

from tests.conftest import TINY, Answer, Scorecard

FORCED = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
WORDS = ("callbacks.progress=false", "data.batch_size=8", "report=false")


class Payload:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.makedirs, (str(self.canary), 0o777, True))


def packed(canary: Path) -> dict[str, bytes]:
    """Pack a payload in every form that some reader would unpack."""
    content = {"state_dict": {"conv1.weight": torch.ones(1), "x": Payload(canary)}, "epoch": Payload(canary)}

    def torches(**how: Any) -> bytes:
        file = io.BytesIO()
        torch.save(content, file, **how)
        return file.getvalue()

    array = io.BytesIO()
    np.save(array, np.array([Payload(canary), 1], dtype=object), allow_pickle=True)
    arrays = io.BytesIO()
    np.savez(arrays, rows=np.array([Payload(canary)], dtype=object))  # type: ignore[arg-type]
    script = torches()  # called as TorchScript's archives are
    renamed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(script)) as old, zipfile.ZipFile(renamed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("archive/constants.pkl", pickle.dumps(Payload(canary)))
    return {
        "torch": torches(),
        "legacy": torches(_use_new_zipfile_serialization=False),
        "script": renamed.getvalue(),
        **{f"pickle{protocol}": pickle.dumps(content, protocol) for protocol in (0, 2, 5)},
        "list": pickle.dumps([Payload(canary)]),
        "gzip": gzip.compress(pickle.dumps(content)),
        "npy": array.getvalue(),
        "npz": arrays.getvalue(),
        "yaml": f'!!python/object/apply:os.makedirs ["{canary}", 511, true]\n'.encode(),
        "json": json.dumps({"py/reduce": [{"py/type": "os.makedirs"}, {"py/tuple": [str(canary)]}]}).encode(),
    }


FORMS = tuple(packed(Path("x")))
EXECUTED_BY: dict[str, Callable[[bytes], Any]] = {
    "torch": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "legacy": lambda content: torch.load(io.BytesIO(content), weights_only=False),
    "pickle0": pickle.loads,
    "pickle2": pickle.loads,
    "pickle5": pickle.loads,
    "list": pickle.loads,
    "gzip": lambda content: pickle.loads(gzip.decompress(content)),
    "npy": lambda content: np.load(io.BytesIO(content), allow_pickle=True),
    "npz": lambda content: np.load(io.BytesIO(content), allow_pickle=True)["rows"],
    "yaml": lambda content: yaml.unsafe_load(content),
}


@pytest.mark.parametrize("form", EXECUTED_BY)
def test_the_payload_works(tmp_path: Path, form: str) -> None:
    """The negative control: who reads carelessly executes it, form by form."""
    EXECUTED_BY[form](packed(tmp_path / "canary")[form])
    assert (tmp_path / "canary").exists()


def test_the_variable_makes_careless_readers_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: what torch alone says is safe, the environment makes unsafe."""
    monkeypatch.setenv(FORCED, "1")
    with pytest.warns(UserWarning, match=FORCED):
        torch.load(io.BytesIO(packed(tmp_path / "canary")["torch"]))
    assert (tmp_path / "canary").exists()


# --- the ways in -----------------------------------------------------------------------------------------------------


class Way(NamedTuple):
    """A command line, and where the file lies that it reads: ``plant`` puts a payload there."""

    name: str
    plant: Callable[[Path, bytes], None]  # the working folder, the payload
    words: tuple[str, ...]
    forms: tuple[str, ...] = ()  # none: those that such a reader may take for its own


TORCHES = ("torch", "legacy", "script")  # which torch reads, and unpacks where the environment says so
READ_BY = {
    (".pt", ".pth", ".bin", ".ckpt", "=w"): (*TORCHES, "pickle2", "gzip"),
    (".safetensors", ".tar", ".mat"): ("torch", "legacy", "pickle2"),
    (".npy", ".npz"): ("npy", "npz", "pickle0"),
    (".json", ".csv", ".yaml"): (),  # texts: none of these is one
    (".pkl",): ("pickle0", "pickle5", "list", "gzip"),
}


def forms_of(way: Way, place: int) -> tuple[str, ...]:
    """Choose forms: those that the reader of such a file may take for its own, and one of all in turn."""
    own = next((forms for endings, forms in READ_BY.items() if way.name.endswith(endings)), ())
    return tuple(dict.fromkeys((*(way.forms or own), FORMS[place % len(FORMS)])))


def at(*places: str) -> Callable[[Path, bytes], None]:
    """Plant payloads at places relative to the working folder."""

    def plant(folder: Path, payload: bytes) -> None:
        for place in places:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(payload)

    return plant


def instead(pattern: str) -> Callable[[Path, bytes], None]:
    """Plant payloads instead of all files that are there already."""

    def plant(folder: Path, payload: bytes) -> None:
        files = [file for file in folder.glob(pattern) if file.is_file()]
        assert files, pattern
        for file in files:
            file.write_bytes(payload)

    return plant


CASE = ("case=small_similar", *(word for word in TINY if not word.startswith("init=")), *WORDS)
PHOTOS = ("data=folder", "data.root=photos")
RUN_FILES = (
    "config.json", "result.json", "data.json", "surgery.json", "predictions.csv", "metrics.csv", "model/network.json",
    "model/weights.safetensors", "checkpoints/decisions.json", "checkpoints/train/last.ckpt",
    "checkpoints/train/best.safetensors", ".hydra/overrides.yaml", ".hydra/config.yaml", ".hydra/hydra.yaml",
    "mistakes/mistakes.json", "failure.json", "profile.csv",
)  # fmt: skip
ONLY = {  # which one verb alone reads
    "report": ("surgery.json", "predictions.csv", "metrics.csv", "mistakes/mistakes.json", "failure.json",
               "profile.csv",
               ".hydra/overrides.yaml"),
    "more": ("checkpoints/train/last.ckpt", "checkpoints/train/best.safetensors"),
    "resume": ("checkpoints/train/last.ckpt", "checkpoints/train/best.safetensors", ".hydra/config.yaml",
               ".hydra/hydra.yaml"),
}  # fmt: skip
VERBS = {
    "evaluate": ("evaluate", "run=run", "trainer=cpu", "report=false"),
    "predict": ("predict", "run=run", "images=photos", "trainer=cpu"),
    "export": ("export", "run=run", "format=safetensors"),
    "report": ("report", "runs=[run,finished]"),
    "resume": ("resume", "run=begun"),
    "more": ("resume", "run=run", "trainer.max_epochs=3"),
}


def ways() -> Iterator[Way]:
    """List every way in."""
    for name in ("w.pt", "w.pth", "w.bin", "w.ckpt", "w.safetensors", "w.pkl", "w", "w.npy", "w.tar"):
        words = ("inspect", *CASE, "data=digits", "init=pretrained", f"init.file={name}")
        yield Way(f"init.file={name}", at(name), words)
    words = ("inspect", *CASE, "data=digits", "init=pretrained", "init.run=run")
    for name in ("weights.safetensors", "network.json"):
        yield Way(f"init.run {name}", at(f"run/model/{name}"), words)
    for verb, words in VERBS.items():
        run = "begun" if verb == "resume" else "run"
        others = {name for names in ONLY.values() for name in names} - {*ONLY.get(verb, ())}
        for name in [name for name in RUN_FILES if name not in others]:
            yield Way(f"{verb} {name}", at(f"{run}/{name}"), words)
    train = (*CASE, "init=scratch", *PHOTOS, "hydra.run.dir=again")
    yield Way("bank", instead("cache/features/**/*"), train, FORMS)
    epochs = ("case=large_similar", *train[1:], "data.cache=disk", "trainer.max_epochs=1")
    yield Way("images", instead("cache/**/*.images"), epochs, ("torch", "pickle2", "npy"))
    paces = at(*(f"cache/pace/{number}.json" for number in range(3)))
    yield Way("pace", paces, train)
    for name in ("table.csv", "table.parquet", "table.pq", "table.tsv", "table.npy", "table.pkl"):
        yield Way(f"table {name}", at(name), ("inspect", *CASE, "init=scratch", "data=table", f"data.file={name}"))
        yield Way(f"images {name}", at(name), ("predict", "run=run", f"images={name}", "trainer=cpu"))
    yield Way("image files", at("photos/train/red/99.png", "photos/train/blue/99.tif"), train)
    shards = ("inspect", *CASE, "init=scratch", "data=shards", "data.root=shards")
    for name in ("state.json", "dataset_info.json", "data-00000-of-00001.arrow"):
        yield Way(f"shards {name}", at(f"shards/{name}"), shards)
    hub = ("inspect", *CASE, "init=scratch", "data=hub", "data.name=hub")
    for name in ("data.parquet", "data.arrow", "data.pkl", "data.npy", "data.json", "hub.py", "README.md", "data.tar",
                 "data.zip", "dataset_infos.json", "data.h5", "data.lance"):  # fmt: skip
        yield Way(f"hub {name}", at(f"hub/{name}"), hub)
    yield Way("hub webdataset", _webdataset, hub)
    for name in ("pytorch_model.bin", "model.safetensors"):
        at_hub = f"hubs/models--timm--test_resnet.r160_in1k/snapshots/0/{name}"
        words = ("inspect", *CASE, "data=digits", "init=pretrained", "init.cache=hubs")
        yield Way(f"hub cache {name}", _cached(at_hub), words)
    for kind, files in TORCHVISION.items():
        words = ("inspect", *CASE, "init=scratch", "data=torchvision", f"data.name={kind}", "data.root=sets")
        yield Way(f"torchvision {kind}", at(*(f"sets/{file}" for file in files)), words)
    case = ("--config-dir", "conf", "case=mine")
    yield Way("a case", at("conf/case/mine.yaml"), case, ("yaml", "pickle0", "json"))
    yield Way("a rerun", at("job.pickle"), ("--experimental-rerun", "job.pickle", "case=small_similar"), ("pickle2",))


TORCHVISION = {
    "CIFAR10": [f"cifar-10-batches-py/{name}" for name in ("batches.meta", "test_batch", "data_batch_1")]
    + [f"cifar-10-batches-py/data_batch_{number}" for number in range(2, 6)],
    "CIFAR100": [f"cifar-100-python/{name}" for name in ("meta", "train", "test")],
    "MNIST": [f"MNIST/processed/{name}.pt" for name in ("training", "test")],
    "KMNIST": [f"KMNIST/processed/{name}.pt" for name in ("training", "test")],
    "SVHN": ["train_32x32.mat", "test_32x32.mat"],
    "STL10": [f"stl10_binary/{name}.bin" for name in ("train_X", "train_y", "test_X", "test_y")],
    "Flowers102": ["flowers-102/setid.mat", "flowers-102/imagelabels.mat", "flowers-102/jpg/image_00001.jpg"],
}


def _cached(place: str) -> Callable[[Path, bytes], None]:
    """Plant a payload where the hub's client keeps what it has fetched."""

    def plant(folder: Path, payload: bytes) -> None:
        at(place)(folder, payload)
        refs = (folder / place).parents[2] / "refs" / "main"
        refs.parent.mkdir(parents=True)
        refs.write_text("0")

    return plant


def _webdataset(folder: Path, payload: bytes) -> None:
    (folder / "hub").mkdir()
    with tarfile.open(folder / "hub" / "data-0.tar", "w") as archive:
        for index in range(3):
            for ending in ("pkl", "pyd", "pickle", "pth", "npy", "cls"):
                entry = tarfile.TarInfo(f"{index}.{ending}")
                entry.size = len(payload)
                archive.addfile(entry, io.BytesIO(payload))


# --- run them --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ground(
    tlx: Callable[..., Answer],
    photos: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Make, once, what others may have made: finished runs, one that has begun, caches; return a folder of it all."""
    kept = tmp_path_factory.getbasetemp() / "hostile_pickles"
    monkeypatch.setenv("TLX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    if kept.exists():
        return kept
    trained = (
        "case=large_similar",
        *TINY,
        *WORDS,
        *PHOTOS,
        "trainer.max_epochs=2",
        "hydra.run.dir=run",
        "data.cache=disk",
    )
    assert tlx(*trained).code == 0
    assert tlx(*CASE, "init=scratch", *PHOTOS, "hydra.run.dir=finished", "data.scan=full").code == 0
    shutil.copytree(tmp_path / "run", tmp_path / "begun")
    (tmp_path / "begun" / "result.json").unlink()
    shutil.rmtree(tmp_path / "begun" / "model")
    shutil.copytree(tmp_path, kept)
    return kept


def fresh(folder: Path, kept: Path) -> None:
    """Put everything in a folder back as it was."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(kept, folder, dirs_exist_ok=True)


CHOSEN = ("init.file=w.pt", "init.file=w.safetensors", "resume checkpoints/train/last.ckpt")  # which stand for all


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("forced", ["0", "1"])
@pytest.mark.parametrize("names", [CHOSEN, pytest.param((), marks=pytest.mark.reliability)], ids=["some", "all"])
def test_nothing_is_executed(
    tlx: Callable[..., Answer],
    ground: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scorecard: Scorecard,
    names: tuple[str, ...],
    forced: str,
) -> None:
    monkeypatch.setenv(FORCED, forced)
    # A library's handler keeps the stream of whichever test imported it, and logging tells of that with a traceback.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    canary = tmp_path.parent / f"{tmp_path.name}_canary"
    payloads, executed, wrong, count = packed(canary), [], dict[str, str](), 0
    for place, way in enumerate(way for way in ways() if way.name in names or not names):
        forms = forms_of(way, place) if not names else TORCHES[:1]
        # What the environment says is only for torch's reader: the other forms are tried once.
        for form in forms if forced == "1" else [form for form in forms if form in TORCHES]:
            fresh(tmp_path, ground)
            way.plant(tmp_path, payloads[form])
            answer = tlx(*way.words)
            count += 1
            if canary.exists():
                executed.append(f"{way.name}, {form}")
                canary.rmdir()
            if answer.code not in (0, 2, 3) or "Traceback" in answer.err or "bug in tlx" in answer.err + answer.out:
                wrong[f"{way.name}, {form}"] = answer.err[-1200:]
    scorecard("R9", {"hostile files": count, "executed": len(executed)})
    assert not executed
    assert not wrong, "\n\n".join(f"{name}: {said}" for name, said in wrong.items())
