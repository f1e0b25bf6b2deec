"""The scan: what it finds, what it leaves out, and that it needs nothing but the interface of images."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.scan.test_catalogue import make, noise
from tlx.config.groups import FolderData
from tlx.data.fault import BROKEN, EMPTY, BadImageError, fault
from tlx.data.found import Found
from tlx.data.header import Header
from tlx.data.open import open_source
from tlx.data.own.folder import open_folder
from tlx.data.scan.facts import describe, used
from tlx.data.scan.looks import GOOD, OFTEN
from tlx.data.scan.scan import scan
from tlx.data.scan.together import Together
from tlx.data.settle import settle
from tlx.data.source import ArrayImages, Images, hashed, leave_out
from tlx.errors import InputError, MachineError
from tlx.storage import read_json, write_json

TREE = {"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 2}


def own(root: Path, **settings: Any) -> FolderData:
    return FolderData(root=str(root), **settings)


def scanned(root: Path, **settings: Any) -> tuple[Found, dict[str, Any]]:
    config = own(root, **settings)
    found, seen = scan(open_folder(config), config)
    return found, describe(found, seen)


@dataclass(frozen=True)
class Scribbles:
    """Images of another kind, drawn from a number; some are broken in their headers, some in their pixels."""

    labels: np.ndarray
    numbers: np.ndarray
    headless: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()

    def name(self, index: int) -> str:
        return f"scribble {index}"

    def content(self, index: int) -> bytes:
        if index in (*self.headless, *self.broken):
            raise MachineError(f"{index} is asked for again")
        return int(self.numbers[index]).to_bytes(8, "big")

    @cached_property
    def digests(self) -> np.ndarray:
        return hashed(self.content, len(self.labels))

    def header(self, index: int) -> Header:
        if index in self.headless:
            raise BadImageError(f"{index} is empty", reason=EMPTY, detail="nothing there")
        return Header(8, 24, 20, "RGB")

    def read(self, index: int, least: int | None = None) -> Image.Image:
        if index in self.broken:
            raise InputError(f"{index} is broken", "draw it again")  # of a source that gives no reasons
        return noise(int(self.numbers[index]))


def scribbles(count: int, **faults: tuple[int, ...]) -> Scribbles:
    return Scribbles(np.arange(count) % 2, np.arange(count), **faults)


def test_any_source_can_be_scanned() -> None:
    given: dict[str, Images] = {"train": scribbles(20, headless=(3,), broken=(7, 8)), "val": ArrayImages(
        "made", np.stack([np.asarray(noise(number)) for number in range(100, 106)]), np.arange(6) % 2
    )}  # fmt: skip
    groups = {"train": np.arange(20) // 2}
    found = Found("made up", ("even", "odd"), given, groups)
    left, seen = scan(found, own(Path("unused"), on_bad="skip"))
    assert [len(left.given[split].labels) for split in given] == [17, 6]
    assert left.given["val"] is given["val"]
    assert left.groups["train"].tolist() == [index // 2 for index in range(20) if index not in (3, 7, 8)]
    assert [left.given["train"].name(index) for index in (2, 3)] == ["scribble 2", "scribble 4"]
    assert seen.reasons() == {"empty": 1, "broken": 2}
    assert seen.fault(3) == "empty: nothing there"
    assert seen.fault(7) == "broken: 7 is broken"
    assert found.given["train"] is given["train"]  # what was handed in stays as it was
    source = settle(left, own(Path("unused")), 0)
    assert len(source.train.labels) + len(source.val.labels) == 17
    assert len(source.train.digests) == len(source.train.labels)


def test_what_was_left_out_is_not_asked_for_again() -> None:
    images = scribbles(6, broken=(2,))
    left = leave_out(images, np.arange(6) == 2)
    assert len(left.digests) == 5
    with pytest.raises(MachineError, match="2 is asked for again"):
        _ = images.digests
    assert leave_out(images, np.zeros(6, bool)) is images


def test_bad_images_end_the_run_before_anything_is_compared(tmp_path: Path) -> None:
    root = make(tmp_path, TREE)
    (root / "train/cat/0.png").write_bytes(b"")
    config = own(root)
    _, seen = scan(open_folder(config), config)
    assert seen.copies is None
    with pytest.raises(InputError, match=r"1 of 11 images cannot be used: train/cat/0\.png \(empty: zero bytes\)"):
        seen.must_be_good()
    replace(seen, bad=replace(seen.bad, reason=np.full(11, GOOD, np.int8))).must_be_good()


def test_a_long_list_is_cut_in_the_message_and_whole_in_the_facts(tmp_path: Path) -> None:
    root = make(tmp_path, TREE)
    for path in sorted(root.rglob("*.png"))[2:]:
        path.write_bytes(b"")
    config = own(root)
    found, seen = scan(open_folder(config), config)
    with pytest.raises(InputError, match=r"9 of 11 .*, and 4 more; mend or remove them"):
        seen.must_be_good()
    assert len(describe(found, seen)["bad"]) == 9


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty: zero bytes"),
        (b"\xef\xbb\xbf \n<!DOCTYPE HTML>", "no image: an HTML page"),
        (b"<html><body>", "no image: an HTML page"),
        (b"<?xml version='1.0'?><svg/>", "no image: XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "no image: a Git LFS pointer"),
        (b"%PDF-1.7", "no image: a PDF"),
        (b"\x00" * 100, "no image: not a format that is read"),
    ],
)
def test_what_a_file_is_instead_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    root = make(tmp_path, TREE)
    (root / "test/dog/1.png").write_bytes(content)
    config = own(root)
    _, seen = scan(open_folder(config), config)
    assert [seen.fault(int(index)) for index in np.flatnonzero(seen.bad.mask)] == [told]


def test_a_fault_without_a_text_has_the_name_of_its_kind() -> None:
    error = fault("x.png", OSError(), b"\x89PNG")
    assert isinstance(error, BadImageError)
    assert (error.reason, error.detail) == (BROKEN, "OSError")


def test_statistics_are_of_the_good_images_alone(tmp_path: Path) -> None:
    root = make(tmp_path, TREE)
    noise(90, (100, 50)).save(root / "train/cat/wide.png")
    (root / "train/cat/0.png").write_bytes(b"")
    _, facts = scanned(root, on_bad="skip")
    assert facts["width"] == {"min": 24, "median": 24.0, "max": 100}
    assert facts["height"] == {"min": 20, "median": 20.0, "max": 50}
    assert (facts["images"], facts["modes"], facts["tiny"]["images"]) == (12, {"RGB": 11}, 0)
    assert facts["bytes"]["min"] > 0
    assert facts["given"]["train"] == {"cat": 5, "dog": 3}  # as found


def test_duplicates_are_counted_where_they_are(tmp_path: Path) -> None:
    root = make(tmp_path, TREE)
    for name in ("a", "b"):
        noise(1).save(root / "train/cat" / f"{name}.png")  # that is train/cat/0.png
    noise(1).save(root / "test/dog/c.png")
    _, facts = scanned(root, scan="full")
    found = facts["duplicates"]
    assert found["within_splits"] == {"train": 2, "test": 0}
    assert found["across_splits"]["by_split"] == {"train": 3, "test": 1}
    assert found["across_labels"]["images"] == 4
    assert len(found["across_splits"]["examples"]) == 3
    assert all(pair[1] == "test/dog/c.png" for pair in found["across_splits"]["examples"])
    assert facts["near_duplicates"]["across_splits"]["images"] == 0  # what is equal is not told again


def test_a_fine_pattern_is_not_of_one_colour(tmp_path: Path) -> None:
    """At an eighth of its size, a chessboard of single pixels is grey."""
    root = make(tmp_path, TREE)
    board = np.indices((1024, 1024)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(root / "train/cat/board.jpg", quality=95)
    Image.new("L", (1024, 1024), 99).save(root / "train/cat/grey.jpg")
    _, facts = scanned(root, scan="full")
    assert facts["constant"] == {"images": 1, "examples": ["train/cat/grey.jpg"]}


def test_facts_survive_being_written(tmp_path: Path) -> None:
    root = make(tmp_path / "root", TREE)
    config = own(root, scan="full")
    source = open_source(config, 0)
    write_json(tmp_path / "data.json", source.facts)
    assert read_json(tmp_path / "data.json") == source.facts
    assert source.facts["format"] == 1
    assert {split: sum(counted.values()) for split, counted in source.facts["splits"].items()} == {
        split: len(source.split(split).labels) for split in ("train", "val", "test")
    }


def test_facts_are_recorded_before_the_images_are_judged(tmp_path: Path) -> None:
    root = make(tmp_path, TREE)
    (root / "test/dog/1.png").write_bytes(b"")
    kept: list[dict[str, Any]] = []
    with pytest.raises(InputError, match="cannot be used"):
        open_source(own(root), 0, kept.append)
    assert [row["image"] for row in kept[0]["bad"]] == ["test/dog/1.png"]
    json.dumps(kept)


def test_progress_reaches_the_end_of_each_pass(tmp_path: Path) -> None:
    found = Found("made up", ("even", "odd"), {"train": scribbles(OFTEN + 44)})
    told: list[tuple[int, int]] = []
    scan(found, own(tmp_path, scan="full"), lambda done, count: told.append((done, count)))
    assert told == [(OFTEN, OFTEN + 44), (OFTEN + 44, OFTEN + 44)] * 2


def test_together_is_one_row_of_all_splits() -> None:
    images = Together({"train": scribbles(5), "val": scribbles(3), "test": scribbles(2)})
    assert len(images) == 10
    assert images.splits.tolist() == [0] * 5 + [1] * 3 + [2] * 2
    assert [images.split_of(index) for index in (0, 4, 5, 9)] == ["train", "train", "val", "test"]
    assert [images.at(index)[1] for index in (0, 4, 5, 7, 8)] == [0, 4, 0, 2, 0]
    assert {split: values.tolist() for split, values in images.parted(np.arange(10)).items()} == {
        "train": [0, 1, 2, 3, 4], "val": [5, 6, 7], "test": [8, 9],
    }  # fmt: skip


@pytest.mark.parametrize(("count", "told"), [(20, False), (21, True)])
def test_imbalance_is_told_from_ten_times_on(count: int, told: bool) -> None:
    labels = np.repeat([0, 1], [count, 2])
    images = ArrayImages("made", np.zeros((len(labels), 2, 2, 3), np.uint8), labels)
    source = replace(open_source_of(images), classes=("many", "few"))
    assert any("judge by balanced accuracy" in warning for warning in used(source, "none")["warnings"]) == told


def open_source_of(images: Images) -> Any:
    from tlx.data.source import Source

    return Source(("a", "b"), images, images, images)
