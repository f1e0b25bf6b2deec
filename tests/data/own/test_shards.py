"""Shards: what save_to_disk wrote, and what is said of what is wrong with it. test_sources_alike.py has the rest."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature

import tlx as package
from tests.conftest import TINY, Answer, runs_of
from tests.data.own.forms import COLOURS, COUNTS, complaint, data_sets, make_photos, names, rows_of
from tlx.config.groups import FolderData, ShardsData
from tlx.data.open import open_source
from tlx.data.own.arrow import found
from tlx.data.own.shards import open_shards
from tlx.data.source import SPLITS, Source, fingerprint
from tlx.errors import EXIT_INPUT, EXIT_MACHINE, InputError, MachineError

DOCS = Path(package.__file__).parents[1] / "docs" / "data.md"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("made") / "photos")


@pytest.fixture
def sets(root: Path) -> dict[str, Any]:
    return data_sets(root, rows_of(root))


def saved(sets: dict[str, Any] | Any, place: Path) -> Path:
    (DatasetDict(sets) if isinstance(sets, dict) else sets).save_to_disk(place)
    return place


def read(place: Path, **asked: Any) -> Source:
    return open_source(ShardsData(root=str(place), **asked), 0)


def wrong(place: Path, **asked: Any) -> str:
    return complaint(ShardsData(root=str(place), **asked))


def cast(sets: dict[str, Any], column: str, feature: Any, values: Callable[[Any], Any]) -> dict[str, Any]:
    """Let a column have another type, every value made of the old one."""
    made = {}
    for split, one in sets.items():
        kinds = Features({**one.features, column: feature})
        content = one.with_format("arrow")[:].to_pydict()
        made[split] = Dataset.from_dict({**content, column: [values(v) for v in content[column]]}, features=kinds)
    return made


def test_one_data_set_is_divided(sets: dict[str, Any], tmp_path: Path) -> None:
    source = read(saved(sets["train"], tmp_path / "d"))
    assert sum(len(source.split(s).labels) for s in SPLITS) == COUNTS["train"] * 3
    assert len(source.notes) == 2


@pytest.mark.parametrize("words", [("train", "validation", "test"), ("training", "valid", "Testing")])
def test_splits_go_by_their_usual_names(words: tuple[str, ...], sets: dict[str, Any], tmp_path: Path) -> None:
    named = dict(zip(words, (sets[split] for split in SPLITS), strict=True))
    source = read(saved({**named, "extra": sets["train"]}, tmp_path / "d"))
    assert [len(source.split(s).labels) for s in SPLITS] == [3 * COUNTS[s] for s in SPLITS]
    assert source.notes == ("splits left out: extra",)


@pytest.mark.parametrize(
    ("feature", "value", "classes"),
    [
        (ClassLabel(names=["z", "y", "x"]), int, ("z", "y", "x")),
        (Value("string"), lambda k: f"n{2 - k}", ("n0", "n1", "n2")),
        (Value("int64"), lambda k: 10 - k, ("8", "9", "10")),
        (Value("bool"), lambda k: k == 1, ("false", "true")),
    ],
    ids=["declared", "text", "numbers", "bools"],
)
def test_labels_of_every_type(
    feature: Any, value: Callable[[int], Any], classes: tuple[str, ...], sets: dict[str, Any], tmp_path: Path
) -> None:
    source = read(saved(cast(sets, "label", feature, value), tmp_path / "d"))
    assert source.classes == classes
    spoken = {True: "true", False: "false"}
    for split in SPLITS:
        meant = [value(k) for k in sets[split]["label"]]
        names = feature.names if isinstance(feature, ClassLabel) else None
        words = [names[m] if names else spoken.get(m, str(m)) if isinstance(m, bool) else str(m) for m in meant]
        assert [source.classes[k] for k in source.split(split).labels] == words


def test_the_classes_of_train_hold_for_splits_that_number_theirs_otherwise(
    sets: dict[str, Any], tmp_path: Path
) -> None:
    order = ["red", "green", "blue"]
    other = cast({"test": sets["test"]}, "label", ClassLabel(names=order), lambda k: order.index(sorted(COLOURS)[k]))
    one, two = (read(saved({**sets, **more}, tmp_path / f"d{len(more)}")) for more in ({}, other))
    assert other["test"]["label"] != sets["test"]["label"]
    assert two.test.labels.tolist() == one.test.labels.tolist()


def test_declared_classes_without_images_are_left_out(sets: dict[str, Any], tmp_path: Path) -> None:
    declared = ClassLabel(names=["aaa", *sorted(COLOURS), "zzz"])
    source = read(saved(cast(sets, "label", declared, lambda k: k + 1), tmp_path / "d"))
    assert source.classes == tuple(sorted(COLOURS))
    assert source.notes == ("classes that no training image has are left out: aaa, zzz",)
    assert set(source.train.labels.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("none", [None, -1])
def test_a_split_whose_labels_are_kept_secret_is_left_out(
    none: int | None, sets: dict[str, Any], tmp_path: Path
) -> None:
    names = ClassLabel(names=sorted(COLOURS))
    secret = cast({"test": sets["test"]}, "label", names, lambda _: none)
    source = read(saved({**sets, **secret}, tmp_path / "d"))
    assert source.notes[0] == "the split test is left out: it holds no labels"
    assert len(source.test.labels) == COUNTS["val"] * 3  # what was given as val


def test_paths_inside_are_followed(root: Path, sets: dict[str, Any], tmp_path: Path) -> None:
    files = iter(f"files/{row.image}" for row in rows_of(root))
    (tmp_path / "d").mkdir()
    for row in rows_of(root):
        file = tmp_path / "d" / "files" / row.image
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((root / row.image).read_bytes())
    linked = cast(sets, "image", ImageFeature(), lambda _: {"bytes": None, "path": next(files)})
    linked = {split: one.cast_column("image", KEPT) for split, one in linked.items()}
    source = read(saved(linked, tmp_path / "d"))
    assert fingerprint(source.train) == fingerprint(open_source(FolderData(root=str(root)), 0).train)
    assert names(source)["test"][0] == "test/0 (files/test/blue/00.png)"
    (tmp_path / "d" / "files" / "test" / "blue" / "00.png").unlink()
    with pytest.raises(InputError, match=r"the image test/0 \(files/test/blue/00\.png\) of .*/d is gone; leave data"):
        source.test.read(0)
    assert "split test: 1 row has a path without a file: row 1 ('files/test/blue/00.png')" in wrong(tmp_path / "d")


Sets = dict[str, Any]
KEPT = {"bytes": Value("binary"), "path": Value("string")}  # save_to_disk reads files in where the type is an image's


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (lambda i: {"bytes": None, "path": "/etc/passwd"}, "a path that leads out of {root}: row 2 ('/etc/passwd')"),
        (lambda i: {"bytes": None, "path": "../x.png"}, "a path that leads out of {root}: row 2 ('../x.png')"),
        (lambda i: {"bytes": None, "path": None}, "no image: row 2 ('')"),
        (lambda i: {"bytes": None, "path": "gone.png"}, "a path without a file: row 2 ('gone.png')"),
    ],
    ids=["absolute", "dots", "neither", "gone"],
)
def test_rows_without_an_image_are_told(
    cell: Callable[[int], Any], told: str, sets: dict[str, Any], tmp_path: Path
) -> None:
    place = iter(range(10**6))
    made = cast(sets, "image", KEPT, lambda old: cell(1) if next(place) == 1 else old)
    said = wrong(saved(made, tmp_path / "d"))
    assert f"{tmp_path}/d, split train: 1 row has " + told.replace("{root}", str(tmp_path / "d")) in said
    assert said.endswith("; mend the data set (rows are counted from 1)")


def some_label(feature: Any, bad: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Change the second label of the test split."""

    def change(sets: dict[str, Any]) -> dict[str, Any]:
        place = iter(range(10**6))
        say = (lambda k: k) if isinstance(feature, ClassLabel) else (lambda k: f"n{k}")
        changed = {s: cast({s: one}, "label", feature, say)[s] for s, one in sets.items()}
        bent = cast({"test": sets["test"]}, "label", feature, lambda k: bad if next(place) == 1 else say(k))
        return {**changed, **bent}

    return change


def as_it_is(sets: Sets) -> Sets:
    return sets


def floats(sets: Sets) -> Sets:
    return cast(sets, "label", Value("float32"), float)


def without(column: str) -> Callable[[Sets], Sets]:
    return lambda sets: {split: one.remove_columns(column) for split, one in sets.items()}


def twice(column: str) -> Callable[[Sets], Sets]:
    def change(sets: Sets) -> Sets:
        made = {}
        for split, one in sets.items():
            values = one.with_format("arrow")[:].column(column).to_pylist()
            made[split] = one.add_column("other", values, feature=one.features[column])
        return made

    return change


@pytest.mark.parametrize(
    ("change", "asked", "told"),
    [
        (some_label(Value("string"), None), {}, "split test: 1 row has no label: row 2 (''); mend the data set"),
        (some_label(Value("string"), "new"), {}, "split test: 1 row has a label that train lacks: row 2 ('new')"),
        (some_label(ClassLabel(names=sorted(COLOURS)), -1), {}, "split test: 1 row has no label: row 2 ('')"),
        (lambda s: {"test": s["test"], "val": s["val"]}, {}, "has no split train but test, val; rename one"),
        (lambda s: {**s, "validation": s["val"]}, {}, "has several splits for val: val, validation; keep one"),
        (lambda s: {**s, "test": s["test"].rename_column("label", "y")}, {}, "the split test of"),
        (floats, {}, "no column of {root} is known to hold labels; give data.label_column=...: image (PIL"),
        (floats, {"label_column": "label"}, "the column 'label' of {root} holds no labels; its columns: image (PIL"),
        (floats, {}, "Image), label (float32)"),
        (without("image"), {}, "no column of {root} is known to hold images; give data.image_column=...: label"),
        (as_it_is, {"image_column": "img"}, "has no column 'img'; give data.image_column=...: did you mean 'image'?"),
        (as_it_is, {"label_column": "lable"}, "give data.label_column=...: did you mean 'label'?"),
        (as_it_is, {"image_column": "label"}, "the column 'label' of {root} holds no images"),
        (twice("label"), {}, "has several columns of labels: label, other; choose one: data.label_column=..."),
        (twice("image"), {}, "has several columns of images: image, other; choose one: data.image_column=..."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    change: Callable[[Any], Any], asked: dict[str, str], told: str, sets: dict[str, Any], tmp_path: Path
) -> None:
    assert told.replace("{root}", f"{tmp_path}/d") in wrong(saved(change(sets), tmp_path / "d"), **asked)


def test_a_set_without_rows_is_told(sets: dict[str, Any]) -> None:
    """What save_to_disk writes of one cannot be loaded again; the hub may hold one."""
    with pytest.raises(InputError, match="owner/empty holds no images; give another data set"):
        found("owner/empty", {"train": sets["train"].select([])}, (), ShardsData(root=""))


def test_columns_of_other_names_are_found_or_asked_for(sets: dict[str, Any], tmp_path: Path) -> None:
    renamed = {k: one.rename_columns({"image": "img", "label": "colour"}) for k, one in sets.items()}
    known = read(saved(sets, tmp_path / "known"))
    assert fingerprint(read(saved(renamed, tmp_path / "d")).train) == fingerprint(known.train)
    words = cast(sets, "label", Value("string"), str)
    several = {k: one.add_column("colour", [f"c{v}" for v in one["label"]]) for k, one in words.items()}
    assert read(saved(several, tmp_path / "e")).classes == ("0", "1", "2")  # the usual name
    assert read(tmp_path / "e", label_column="colour").classes == ("c0", "c1", "c2")


def test_other_folders_are_told(root: Path, tmp_path: Path) -> None:
    assert f"data.root={tmp_path}/no is no folder; give a folder that save_to_disk wrote" in wrong(tmp_path / "no")
    said = wrong(root)
    assert f"data.root={root} holds no saved data set; write it with save_to_disk, or read it as it is:" in said
    assert said.endswith(f"data=hub data.name={root}")


@pytest.mark.parametrize("damage", ["cut", "text", "gone", "json"])
def test_damaged_files_are_told(damage: str, sets: dict[str, Any], tmp_path: Path) -> None:
    place = saved(sets, tmp_path / "d")
    (file,) = (place / "train").glob("*.arrow")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "text":
        file.write_text("no arrow")
    elif damage == "gone":
        file.unlink()
    else:
        (place / "train" / "state.json").write_text("{")
    assert re.search(r"the data set .*/d cannot be read \(.+\); write it again with save_to_disk", wrong(place))


def test_what_may_not_be_read_is_the_machines_fault(
    sets: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "some.arrow")

    place = saved(sets, tmp_path / "d")
    monkeypatch.setattr("datasets.load_from_disk", refuse)
    with pytest.raises(MachineError, match=r"some\.arrow may not be read; change its permissions") as caught:
        open_shards(ShardsData(root=str(place)))
    assert caught.value.exit_code == EXIT_MACHINE


def test_an_image_that_cannot_be_decoded_is_named(sets: dict[str, Any], tmp_path: Path) -> None:
    bad = cast(sets, "image", ImageFeature(), lambda old: {"bytes": b"<html>", "path": old["path"]})
    config = ShardsData(root=str(saved(bad, tmp_path / "d")))
    with pytest.raises(
        InputError, match=r"39 of 39 images cannot be used: train/0 \(00\.png\) \(no image: an HTML page\)"
    ):
        open_source(config, 0)
    with pytest.raises(InputError, match=r"the image val/4 \(01\.png\) of .*/d cannot be decoded .*; remove it or"):
        open_shards(config).given["val"].read(4)
    large = ShardsData(root=str(saved(sets, tmp_path / "e")), max_megapixels=0.0001)
    with pytest.raises(InputError, match=r"the image val/4 \(01\.png\) of .*/e is too large"):
        open_shards(large).given["val"].header(4)


def test_without_the_extra_one_line_says_so(
    sets: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tlx: Callable[..., Answer]
) -> None:
    place = saved(sets, tmp_path / "d")
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "datasets":
            raise ModuleNotFoundError("No module named 'datasets'", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    answer = tlx("case=small_similar", "data=shards", f"data.root={place}", *TINY)
    assert answer.code == EXIT_INPUT
    told = " ".join(answer.err.split())
    assert told.endswith('tlx: error: data=shards and data=hub need the package datasets; pip install "tlx[hub]"')


def test_the_documented_recipe_makes_shards(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tlx: Callable[..., Answer]
) -> None:
    """Executes the Python of docs/data.md as it stands there."""
    (recipe,) = re.findall(r"```python\n(from datasets.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(recipe.splitlines()) <= 5
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "photos").symlink_to(root)
    exec(compile(recipe, str(DOCS), "exec"), {})
    source = read(tmp_path / "photos.shards")
    folder = open_source(FolderData(root=str(root)), 0)
    assert [fingerprint(source.split(s)) for s in SPLITS] == [fingerprint(folder.split(s)) for s in SPLITS]
    answer = tlx("case=small_similar", "data=shards", "data.root=photos.shards", "data.workers=0", *TINY)
    assert (answer.code, answer.err) == (0, "")
    (run,) = runs_of(tmp_path)
    assert json.loads((run / "result.json").read_text())["data"] == "photos.shards"
    assert np.array_equal(source.train.labels, folder.train.labels)
