"""Class folders: layouts, what is carved out, and what is wrong with other people's folders."""

from __future__ import annotations

import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlx.config.groups import FolderData
from tlx.data.own.folder import open_folder
from tlx.data.settle import settle
from tlx.data.source import SPLITS, FileImages, Source
from tlx.errors import InputError

TREE = dict[str, int]


def make(root: Path, tree: TREE) -> Path:
    """Make ``{"train/cat": 5}``: five images each of a colour of its own, so that content tells them apart."""
    number = 0
    for folder, count in tree.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            number += 1
            Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(root / folder / f"{index:03d}.png")
    return root


def read(root: Path, seed: int = 0, **settings: Any) -> Source:
    config = FolderData(root=str(root), **settings)
    return settle(open_folder(config), config, seed)


def paths(source: Source) -> dict[str, list[str]]:
    return {s: [images.name(i) for i in range(len(images.labels))] for s in SPLITS for images in [source.split(s)]}


def sizes(source: Source) -> tuple[int, int, int]:
    return tuple(len(source.split(s).labels) for s in ("train", "val", "test"))  # type: ignore[return-value]


def everything(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*.png"))


def splits(tree: str, *names: str, counts: int = 20) -> TREE:
    return {f"{part}/{name}".strip("/"): counts for part in tree.split() or [""] for name in names or ("a", "b")}


@pytest.mark.parametrize("tree", ["", "train"])
def test_flat_folders_and_train_alone_are_carved_three_ways(tree: str, tmp_path: Path) -> None:
    source = read(make(tmp_path, splits(tree)), split=[0.7, 0.2, 0.1])
    # 10 % of 20 are 2 a class for the test, 20 % of the other 18 are 4 for validation.
    assert sizes(source) == (28, 8, 4)
    found = paths(source)
    assert sorted(chain.from_iterable(found.values())) == everything(tmp_path)  # disjoint, and nothing lost
    assert source.notes == ("4 images carved out as the test set", "8 training images carved out for validation")


def test_with_train_and_val_alone_val_is_the_test_set(tmp_path: Path) -> None:
    source = read(make(tmp_path, splits("train val")))
    assert sizes(source) == (34, 6, 40)
    found = paths(source)
    assert all(p.startswith("val/") for p in found["test"])
    assert all(p.startswith("train/") for p in found["train"] + found["val"])
    assert sorted(chain.from_iterable(found.values())) == everything(tmp_path)
    assert source.notes == (
        "the validation images given serve as the test set",
        "6 training images carved out for validation",
    )


def test_given_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    source = read(make(tmp_path, splits("train val test")))
    assert sizes(source) == (40, 40, 40)
    assert source.notes == ()
    assert all(p.startswith(f"{s}/") for s, found in paths(source).items() for p in found)


def test_with_train_and_test_validation_is_carved(tmp_path: Path) -> None:
    source = read(make(tmp_path, splits("train test")))
    assert sizes(source) == (34, 6, 40)
    assert source.notes == ("6 training images carved out for validation",)


@pytest.mark.parametrize("tree", ["training validation testing", "Train Val Test", "TRAIN valid TEST"])
def test_splits_go_by_their_usual_names_in_any_case(tree: str, tmp_path: Path) -> None:
    """Taken for classes, "Train" and "Test" would give a network that tells them apart, and no error."""
    source = read(make(tmp_path, splits(tree)))
    assert source.classes == ("a", "b")
    assert sizes(source) == (40, 40, 40)


def test_carving_is_stratified_seeded_and_the_same_whatever_else_is_asked(tmp_path: Path) -> None:
    make(tmp_path, {"few": 3, "some": 10, "many": 40})
    one = read(tmp_path, seed=1)
    for split, per_class in (("test", [1, 6, 2]), ("val", [1, 6, 1]), ("train", [1, 28, 7])):
        assert np.bincount(one.split(split).labels).tolist() == per_class
    assert paths(read(tmp_path, seed=1)) == paths(one)
    assert paths(read(tmp_path, seed=2)) != paths(one)
    # A smaller training set has the same test set, and is part of the larger one.
    small, larger = (read(tmp_path, seed=1, per_class=n) for n in (4, 8))
    assert paths(small)["test"] == paths(larger)["test"] == paths(one)["test"]
    part, whole = ({*paths(s)["train"], *paths(s)["val"]} for s in (small, larger))
    assert part < whole
    assert paths(read(tmp_path, seed=1, split=[0.35, 0.5, 0.15]))["test"] == paths(one)["test"]


def test_per_class_limits_training_images_alone(tmp_path: Path) -> None:
    source = read(make(tmp_path / "three", splits("train val test")), per_class=5)
    assert sizes(source) == (10, 40, 40)
    source = read(make(tmp_path / "two", splits("train val")), per_class=10, split=[0.8, 0.2, 0.0])
    assert sizes(source) == (16, 4, 40)


def test_labels_follow_sorted_class_names_in_every_split(tmp_path: Path) -> None:
    source = read(make(tmp_path, splits("train val test", "zebra", "Ant", "ant", "10", "9", counts=3)))
    assert source.classes == ("10", "9", "Ant", "ant", "zebra")
    for split in ("train", "val", "test"):
        images = source.split(split)
        assert isinstance(images, FileImages)
        assert [source.classes[label] for label in images.labels] == [Path(p).parts[1] for p in images.paths]
        assert images.labels.dtype == np.int64


ODD = ("Ünïcode ß", "blank  s", "日本", "a.b=c,d", "[red]", 'it\'s "quoted"', "-dash", "emoji 🐝", "tab\tin")


@pytest.mark.skipif(sys.platform == "win32", reason="not every name is one there")
def test_odd_names_are_read(tmp_path: Path) -> None:
    root = tmp_path / "my données [x]"
    for name in ODD:
        make(root, {name: 3})
        (root / name / "000.png").rename(root / name / f"é {name}.PNG")
    bad = os.fsencode(root / "Ünïcode ß") + b"/not\xffutf8.png"
    with open(bad, "wb") as file:  # noqa: PTH123
        Image.new("RGB", (4, 4)).save(file, "PNG")
    source = read(root)
    assert source.classes == tuple(sorted(ODD))
    assert sum(sizes(source)) == 3 * len(ODD) + 1
    for split in ("train", "val", "test"):
        images = source.split(split)
        assert all(images.read(i).mode == "RGB" for i in range(len(images.labels)))


def test_hidden_things_are_ignored_and_odd_endings_counted(tmp_path: Path) -> None:
    make(tmp_path, {"a": 4, "b": 4, ".hidden": 3, "a/.thumbs": 3, "a/deeper/still": 2})
    (tmp_path / "a" / ".DS_Store").touch()
    (tmp_path / "README.md").touch()
    for name in ("notes.txt", "more.txt", "Thumbs.db", "LICENSE", "clip.mp4"):
        (tmp_path / "b" / name).touch()
    source = read(tmp_path)
    assert source.classes == ("a", "b")
    assert sum(sizes(source)) == 10  # what lies deeper in a class belongs to it
    assert source.notes[-1] == (
        "skipped files that are no images by their ending: 1 without ending, 1 .db, 1 .mp4, 2 .txt"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_not_followed_into_loops(tmp_path: Path) -> None:
    root = make(tmp_path / "root", {"a": 4, "b": 4})
    make(tmp_path / "outside", {"more": 50})
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "more").symlink_to(tmp_path / "outside" / "more")
    (root / "b" / "itself.png").symlink_to("itself.png")
    (root / "b" / "gone.png").symlink_to("nowhere.png")
    (root / "self").symlink_to("self")
    found = open_folder(FolderData(root=str(root)))
    assert found.classes == ("a", "b")
    assert found.unfollowed == 2
    names = [found.given["train"].name(index) for index in range(len(found.given["train"].labels))]
    assert len(names) == 10  # a link that leads nowhere is an image that is missing, which the scan tells
    assert {"b/itself.png", "b/gone.png"} < set(names)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("where", ["b/linked.png", "c", "val"])
def test_a_link_out_of_the_root_is_refused_unless_asked_for(where: str, tmp_path: Path) -> None:
    root = make(tmp_path / "root", {"a": 4, "b": 4} if where != "val" else {"train/a": 4, "train/b": 4})
    outside = make(tmp_path / "outside", {"a": 5, "b": 5})
    target = {"b/linked.png": outside / "a" / "000.png", "c": outside / "a", "val": outside}[where]
    (root / where).symlink_to(target)
    with pytest.raises(InputError, match=f"the link {root / where} leads out of data.root, to {target}; .*anywhere"):
        read(root)
    assert sum(sizes(read(root, links="anywhere"))) == {"b/linked.png": 9, "c": 13, "val": 18}[where]
    (root / where).unlink()
    assert sum(sizes(read(root))) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_inside_the_root_is_followed(tmp_path: Path) -> None:
    """Also where the root is a link itself, and where a name begins like the root's."""
    make(tmp_path / "root", {"a": 4, "b": 4})
    (tmp_path / "root" / "a" / "linked.png").symlink_to("../b/000.png")
    (tmp_path / "link").symlink_to("root")
    assert sum(sizes(read(tmp_path / "link"))) == 9
    make(tmp_path / "rooted", {"x": 1})
    (tmp_path / "root" / "a" / "out.png").symlink_to(tmp_path / "rooted" / "x" / "000.png")
    with pytest.raises(InputError, match=r"leads out of data\.root"):
        read(tmp_path / "link")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_class_may_be_a_link_but_not_back_to_where_it_stands(tmp_path: Path) -> None:
    root = make(tmp_path / "root", {"train/dog": 4, "store/cats": 4})
    (root / "train" / "cat").symlink_to("../store/cats")
    assert read(root).classes == ("cat", "dog")
    (root / "train" / "all").symlink_to("..")
    with pytest.raises(InputError, match="train/all links back to a folder that it stands in"):
        read(root)


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({}, r"has no class folders; expected\n  ROOT/cat/\*\.jpg "),
        ({"": 3}, "has no class folders but 3 images; expected"),
        ({"train": 3}, "train has no class folders but 3 images"),
        ({"only": 3}, "has one class only: only; give at least two"),
        ({"a": 3, "b": 0}, "the class folder .*b has no images"),
        ({"train/a": 3, "train/b": 3, "val/a": 3}, "val/b has no images"),
        ({"train/a": 3, "train/b": 3, "val/a": 3, "val/b": 0}, "val/b has no images"),
        ({"train/a": 3, "train/b": 3, "val/a": 3, "val/b": 3, "val/c": 1}, "val has classes that train/ lacks: c"),
        ({"train/a": 3, "train/b": 3, "test/a": 3, "test/b": 3, "test/z": 1}, "test has classes that train/ lacks: z"),
        ({"val/a": 3, "val/b": 3}, "has no train/; expected"),
        (
            {"a": 3, "b": 1},
            r"too few images to split: 1, of which test needs one; give at least three images a class",
        ),
        ({"a": 3, "b": 2}, r"has too few images to split"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(tree: TREE, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        read(make(tmp_path, tree))


def test_no_folder_is_told_with_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(InputError, match=f"data.root={tmp_path}/{name} is no folder"):
            read(Path(name))
