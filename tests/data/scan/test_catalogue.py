"""Every line of the catalogue of bad data, met by a person at the command line: what is said, and what is kept."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, Answer, runs_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and names are others there")
THREE = {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")}


def noise(number: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """Make an image that no other number gives."""
    coarse = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def make(root: Path, tree: dict[str, int]) -> Path:
    """Make ``{"train/cat": 4}``: four images, all different."""
    number = 0
    for folder, count in tree.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            number += 1
            noise(number).save(root / folder / f"{index}.png")
    return root


class Outcome(NamedTuple):
    """What a run said and left behind."""

    code: int
    out: str
    err: str
    data: dict[str, Any]
    result: dict[str, Any]
    folder: Path


Run = Callable[..., Outcome]


@pytest.fixture
def train(tlx: Callable[..., Answer], tmp_path: Path) -> Run:
    """Train on a folder; no outcome but an error in one message, or a finished run."""

    def run(root: Path, *words: str) -> Outcome:
        features = () if "features=off" in words else ("features.profile_up_to=0",)
        before = runs_of(tmp_path)
        answer = tlx("case=small_similar", *TINY, *features, "data=folder", f"data.root={root}", *words)
        folder = next((path for path in runs_of(tmp_path) if path not in before), tmp_path / "none")
        assert answer.code in (0, 2)
        data, result = (
            json.loads(path.read_text()) if path.is_file() else {}
            for path in (folder / "data.json", folder / "result.json")
        )
        assert "Traceback" not in answer.out + answer.err
        if answer.code:
            assert answer.err.startswith("tlx: error: ")
            assert not result
        else:
            assert answer.err == ""
            assert result["images"] == {s: sum(counted.values()) for s, counted in data["splits"].items()}
        return Outcome(answer.code, answer.out, answer.err, data, result, folder)

    return run


# What stands in the folder, or does not.


def test_a_missing_folder_is_named_in_full_with_its_key(train: Run, tmp_path: Path) -> None:
    outcome = train(Path("nowhere"))
    assert (outcome.code, outcome.data) == (2, {})
    assert f"data.root={tmp_path}/nowhere is no folder; give a folder of class folders" in outcome.err


def test_a_flat_folder_is_answered_with_the_layout(train: Run, tmp_path: Path) -> None:
    outcome = train(make(tmp_path / "flat", {"": 3}))
    assert outcome.code == 2
    assert "has no class folders but 3 images; expected\n" in outcome.err
    assert "\n  ROOT/cat/*.jpg     or   ROOT/train/cat/*.jpg\n  ROOT/dog/*.jpg" in outcome.err


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"cat": 4, "dog": 0}, "the class folder ROOT/dog has no images; add images (.bmp, "),
        ({"cat": 4}, "ROOT has one class only: cat; give at least two class folders"),
        (
            {"cat": 4, "dog": 1},
            "the class 'dog' has too few images to split: 1, of which test needs one; give at",
        ),
        ({**THREE, "val/emu": 2}, "ROOT/val has classes that train/ lacks: emu; add them to train/ or remove them"),
        ({**THREE, "test/emu": 2}, "ROOT/test has classes that train/ lacks: emu"),
    ],
    ids=["an empty class", "one class", "one image a class", "a class in val alone", "a class in test alone"],
)
def test_classes_that_cannot_be_learned_are_named(train: Run, tmp_path: Path, tree: dict[str, int], told: str) -> None:
    root = make(tmp_path / "root", tree)
    outcome = train(root)
    assert outcome.code == 2
    assert told.replace("ROOT", str(root)) in outcome.err


def test_single_images_of_a_class_are_told_where_they_can_be_used(train: Run, tmp_path: Path) -> None:
    outcome = train(make(tmp_path / "root", {**THREE, "train/dog": 1}))
    assert outcome.code == 0
    assert "classes with a single training image: 'dog'" in outcome.data["warnings"]


def test_labels_come_from_train_in_every_split(train: Run, tmp_path: Path) -> None:
    """A sort that ignores case, or one of another language, would number these otherwise."""
    names = ("Zebra", "ant", "Ärger", "10", "9")
    root = make(tmp_path / "root", {f"{split}/{name}": 3 for split in ("test", "val", "train") for name in names})
    outcome = train(root)
    assert outcome.code == 0
    assert outcome.result["classes"] == outcome.data["classes"] == sorted(names)
    assert outcome.data["splits"] == {split: dict.fromkeys(sorted(names), 3) for split in ("train", "val", "test")}


def test_an_unsupported_ending_is_counted(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    for name in ("a.heic", "b.HEIC", "notes.txt", "none"):
        (root / "train" / "cat" / name).touch()
    outcome = train(root)
    assert outcome.code == 0
    assert outcome.data["skipped"] == {"": 1, ".heic": 2, ".txt": 1}
    assert "skipped files that are no images by their ending: 1 without ending, 2 .heic, 1 .txt" in outcome.out


def test_a_class_of_unsupported_files_alone_says_so(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", {"cat": 4, "dog": 0})
    (root / "dog" / "a.heic").touch()
    outcome = train(root)
    assert outcome.code == 2
    assert "dog has no images, but 1 .heic; add images" in outcome.err


def test_dot_files_and_folders_are_ignored_and_told(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", {**THREE, "train/.ipynb_checkpoints": 2, "train/cat/.thumbs": 2, ".git": 1})
    (root / "train" / "cat" / "._0.png").write_bytes(b"\x00\x05\x16\x07")
    (root / "val" / "dog" / ".DS_Store").touch()
    outcome = train(root)
    assert outcome.code == 0
    assert (outcome.data["hidden"], outcome.data["images"]) == (5, 24)
    assert "ignored, for their names begin with a dot: 5" in outcome.out


# What is in the files.


def spoil(root: Path) -> dict[str, str]:
    """Put in what people have; return what is wrong with each by name."""
    here = root / "train" / "cat"
    (here / "zero.jpg").touch()
    (here / "page.jpg").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")
    (here / "gone.jpg").symlink_to("nowhere.jpg")
    noise(97, (300, 300)).save(here / "large.png")
    Image.effect_noise((200, 200), 90).save(here / "half.jpg")
    content = (here / "half.jpg").read_bytes()
    (here / "half.jpg").write_bytes(content[: len(content) // 2])
    reasons = {"zero": "empty", "page": "no image", "gone": "gone", "large": "too large", "half": "broken"}
    endings = {"large": "png"}
    return {f"train/cat/{name}.{endings.get(name, 'jpg')}": reason for name, reason in reasons.items()}


LIMIT = "data.max_megapixels=0.05"


@posix
def test_bad_images_end_the_run_in_one_error_and_all_are_listed(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    reasons = spoil(root)
    outcome = train(root, LIMIT)
    assert outcome.code == 2
    assert "4 of 29 images cannot be used: train/cat/gone.jpg (gone: " in outcome.err
    assert "train/cat/page.jpg (no image: an HTML page)" in outcome.err
    assert (
        "train/cat/zero.jpg (empty: zero bytes); mend or remove them, or leave them out: data.on_bad=skip"
        in outcome.err
    )
    by_header = {name: reason for name, reason in reasons.items() if reason != "broken"}
    assert {row["image"]: row["reason"] for row in outcome.data["bad"]} == by_header
    assert {(row["split"], row["class"]) for row in outcome.data["bad"]} == {("train", "cat")}
    assert "are listed in outputs/runs/" in outcome.out
    assert outcome.data["left_out"] == 0


@posix
def test_a_full_scan_finds_what_the_headers_do_not_tell(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    reasons = spoil(root)
    outcome = train(root, LIMIT, "data.scan=full")
    assert outcome.code == 2
    assert "5 of 29 images cannot be used" in outcome.err
    assert {row["image"]: row["reason"] for row in outcome.data["bad"]} == reasons


@posix
def test_bad_images_are_left_out_where_asked_and_counted_in_the_result(train: Run, tmp_path: Path) -> None:
    """The run is the one of the same folder without them, to the last bit."""
    root = make(tmp_path / "root", THREE)
    clean = train(root)
    reasons = spoil(root)
    outcome = train(root, LIMIT, "data.on_bad=skip")
    assert outcome.code == 0
    assert outcome.result["images_left_out"] == outcome.data["left_out"] == 5
    assert outcome.data["bad_by_reason"] == dict.fromkeys(reasons.values(), 1)
    assert "images left out: 5 (1 gone, 1 empty, 1 no image, 1 too large, 1 broken)" in outcome.out
    assert clean.result["images_left_out"] == 0
    assert outcome.result["fingerprints"] == clean.result["fingerprints"]
    assert outcome.result["metrics"] == clean.result["metrics"]


def test_a_class_of_which_nothing_is_left_is_an_error(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    for path in (root / "val" / "dog").iterdir():
        path.write_bytes(b"")
    outcome = train(root, "data.on_bad=skip")
    assert outcome.code == 2
    assert "no image of the class 'dog' in val can be used: val/dog/0.png (empty: zero bytes)" in outcome.err
    assert len(outcome.data["bad"]) == 4


def test_what_only_shows_in_training_is_named_with_both_ways_out(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    path = root / "train" / "cat" / "half.jpg"
    noise(98, (64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    outcome = train(root)
    assert outcome.code == 2
    assert f"the image {path} cannot be decoded (broken: " in outcome.err
    assert "data.on_bad=skip leaves such images out, data.scan=full finds them before training" in outcome.err


def test_unreadable_files_are_listed(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is root may read everything: the refusal is made."""
    root = make(tmp_path / "root", THREE)
    whole = Image.open

    def refusing(file: Any, *rest: Any, **named: Any) -> Any:
        if str(file).endswith("train/dog/2.png"):
            raise PermissionError(13, "Permission denied", str(file))
        return whole(file, *rest, **named)

    monkeypatch.setattr(Image, "open", refusing)
    outcome = train(root)
    assert outcome.code == 2
    assert "1 of 24 images cannot be used: train/dog/2.png (unreadable: permission denied)" in outcome.err
    assert train(root, "data.on_bad=skip").data["bad_by_reason"] == {"unreadable": 1}


def test_an_unreadable_folder_is_named(train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make(tmp_path / "root", THREE)
    whole = os.scandir

    def refusing(path: Any = ".") -> Any:
        if str(path).endswith("train/dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", refusing)
    outcome = train(root)
    assert outcome.code == 2
    assert f"the folder {root}/train/dog may not be read; change its permissions" in outcome.err


def test_every_mode_and_depth_is_converted_and_counted(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    here = root / "train" / "cat"
    for mode, ending in (("CMYK", "jpg"), ("P", "png"), ("RGBA", "png"), ("L", "png"), ("1", "png")):
        noise(60).convert(mode).save(here / f"mode {mode}.{ending}")
    Image.fromarray(np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)).save(here / "sixteen.png")
    Image.fromarray(np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)).save(here / "float.tif")
    outcome = train(root, "data.scan=full")
    assert outcome.code == 0
    assert outcome.data["modes"] == {"RGB": 24, "1": 1, "CMYK": 1, "L": 1, "P": 1, "RGBA": 1, "F": 1, "I;16": 1}


def test_of_animated_images_the_first_frame_is_taken_and_told(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    for name in ("a.webp", "b.png", "c.tif"):
        noise(70).save(root / "train" / "cat" / name, save_all=True, append_images=[noise(71), noise(72)])
    noise(75).save(root / "train" / "cat" / "still.webp")
    outcome = train(root)
    assert outcome.code == 0
    assert outcome.data["animated"]["images"] == 3
    assert "images of several frames, of which the first is taken: 3, such as train/cat/a.webp" in outcome.out


def test_images_turned_by_exif_are_counted(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    for orientation in (1, 3, 6, 99):
        exif = Image.Exif()
        exif[0x0112] = orientation
        noise(80 + orientation, (30, 20)).save(root / "train" / "cat" / f"turn{orientation}.jpg", exif=exif)
    outcome = train(root)
    assert outcome.code == 0
    assert outcome.data["turned_by_exif"] == 2
    assert outcome.data["height"]["max"] == 30  # of the one that lies on its side, as a person sees it


def test_a_decompression_bomb_meets_the_limit(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    Image.new("1", (12_000, 10_000)).save(root / "train" / "cat" / "bomb.png")
    assert (root / "train" / "cat" / "bomb.png").stat().st_size < 50_000
    outcome = train(root)
    assert outcome.code == 2
    assert "bomb.png (too large: 120 megapixels are more than data.max_megapixels=100)" in outcome.err


def test_tiny_images_are_told(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    Image.new("RGB", (1, 1), "red").save(root / "train" / "cat" / "one.png")
    outcome = train(root)
    assert outcome.code == 0
    assert outcome.data["tiny"] == {"images": 1, "examples": ["train/cat/one.png"]}
    assert (outcome.data["width"]["min"], outcome.data["constant"]) == (1, None)
    assert "images of less than 8 pixels on a side: 1, such as train/cat/one.png" in outcome.out


# What spoils the measurement.


def test_the_same_file_in_two_splits_and_under_two_labels_is_told(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    shutil.copy(root / "train/cat/0.png", root / "test/cat/copy.png")
    shutil.copy(root / "train/cat/1.png", root / "train/dog/copy.png")
    shutil.copy(root / "val/dog/1.png", root / "val/dog/copy.png")
    outcome = train(root)
    assert outcome.code == 0
    found = outcome.data["duplicates"]
    across = {"images": 2, "by_split": {"train": 1, "test": 1}, "examples": [["train/cat/0.png", "test/cat/copy.png"]]}
    assert found["across_splits"] == across
    assert found["across_labels"]["examples"] == [["train/cat/1.png", "train/dog/copy.png"]]
    assert found["within_splits"] == {"train": 1, "val": 1, "test": 0}
    assert "images equal byte for byte in different splits: 1 in train, 1 in test, such as" in outcome.out
    assert "such as train/cat/0.png and test/cat/copy.png; what is measured is too good" in outcome.out
    assert "images equal byte for byte under different labels: 2, such as train/cat/1.png" in outcome.out


def test_nothing_is_warned_of_that_is_not_there(train: Run, tmp_path: Path) -> None:
    outcome = train(make(tmp_path / "root", THREE), "data.scan=full")
    assert (outcome.code, outcome.data["warnings"], outcome.data["notes"]) == (0, [], [])


def test_what_looks_the_same_is_found_by_a_full_scan(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    noise(500, (240, 200)).save(root / "train/cat/large.png")
    noise(500, (240, 200)).resize((120, 100)).save(root / "test/cat/small.jpg", quality=60)
    Image.new("RGB", (30, 30)).save(root / "train/cat/black.png")
    Image.new("RGB", (40, 40)).save(root / "test/dog/black.png")
    assert train(root).data["near_duplicates"] is None
    outcome = train(root, "data.scan=full")
    assert outcome.code == 0
    assert outcome.data["near_duplicates"]["across_splits"]["examples"] == [
        ["train/cat/large.png", "test/cat/small.jpg"]
    ]
    assert outcome.data["near_duplicates"]["across_labels"]["images"] == 0  # all black is alike, and no finding
    assert outcome.data["constant"] == {"images": 2, "examples": ["train/cat/black.png", "test/dog/black.png"]}
    assert "images alike to the eye in different splits: 1 in train, 1 in test, such as" in outcome.out
    assert "images of one colour throughout: 2, such as train/cat/black.png" in outcome.out


@pytest.mark.parametrize(("balance", "advised"), [("none", True), ("weights", False)])
def test_extreme_imbalance_is_told_with_what_to_do(train: Run, tmp_path: Path, balance: str, advised: bool) -> None:
    outcome = train(make(tmp_path / "root", {**THREE, "train/cat": 45}), f"data.balance={balance}")
    assert outcome.code == 0
    assert outcome.data["imbalance"] == {"largest": "cat", "smallest": "dog", "ratio": 11.25}
    told = "45 training images of 'cat' and 4 of 'dog': judge by balanced accuracy, which counts classes alike"
    assert told in outcome.out
    assert ("data.balance=weights gives every class the same say" in outcome.out) == advised
    assert outcome.result["metrics"]["test"]["balanced_accuracy"] >= 0


# Links and names.


@posix
def test_links_that_leave_the_root_are_refused(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    outside = make(tmp_path / "outside", {"cat": 1})
    (root / "train/cat/out.png").symlink_to(outside / "cat/0.png")
    outcome = train(root)
    assert outcome.code == 2
    assert f"the link {root}/train/cat/out.png leads out of data.root, to {outside}/cat/0.png" in outcome.err
    assert train(root, "data.links=anywhere").data["images"] == 25


@posix
def test_link_loops_bring_nothing_in_twice(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    (root / "train/cat/loop").symlink_to(root / "train")
    outcome = train(root)
    assert outcome.code == 0
    assert (outcome.data["images"], outcome.data["unfollowed_links"]) == (24, 1)
    assert "links to folders inside a class, not followed: 1" in outcome.out
    (root / "train/all").symlink_to(root / "train")
    outcome = train(root)
    assert outcome.code == 2
    assert f"{root}/train/all links back to a folder that it stands in; remove the link" in outcome.err


@posix
@pytest.mark.parametrize("bad", [False, True])
def test_odd_and_non_utf8_names_survive_everywhere(
    train: Run, tmp_path: Path, bad: bool, request: pytest.FixtureRequest
) -> None:
    root = make(tmp_path / "my données [x]", THREE)
    odd = os.fsdecode(b'caf\xe9\n\x1b[31m,=1 "q"')
    for split in ("train", "val", "test"):
        (root / split / "cat").rename(root / split / odd)
    name = os.fsdecode(b"not\xffutf8 \x1b[2J.png")
    path = root / "train" / odd / name
    shutil.copy(root / "test" / "dog" / "0.png", path)
    if bad:
        path.write_bytes(b"")
    outcome = train(root, f"data.root='{root}'")
    log: Any = request.config.pluginmanager.get_plugin("logging-plugin")
    log.report_handler.reset()  # pytest's own processes cannot hand such names to one another
    assert outcome.code == (2 if bad else 0)
    assert odd in outcome.data["classes"]
    told = outcome.err if bad else outcome.out
    assert r"not\udcffutf8 \x1b[2J.png" in told  # shown, and nothing that a terminal would obey
    assert "\x1b" not in outcome.out + outcome.err
    if bad:
        assert outcome.data["bad"][0]["image"] == f"train/{odd}/{name}"
        assert os.fsencode(outcome.data["bad"][0]["image"]).endswith(b"not\xffutf8 \x1b[2J.png")
    else:
        assert outcome.data["duplicates"]["across_splits"]["examples"] == [[f"train/{odd}/{name}", "test/dog/0.png"]]
        assert outcome.result["classes"] == sorted([odd, "dog"])


# The other verbs.


def test_inspect_shows_the_scan_also_of_what_it_refuses(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    words = ("inspect", "case=small_similar", *TINY, "data=folder", f"data.root={root}")
    answer = tlx(*words, "data.scan=full")
    assert answer.code == 0, answer.err
    assert "cat        4    4     4" in answer.out
    assert "all pixels of 24 images; 0 cannot be used" in answer.out
    assert "24 RGB" in answer.out
    (root / "val" / "cat" / "zero.png").touch()
    answer = tlx(*words)
    assert answer.code == 2
    assert "headers of 25 images; 1 cannot be used" in answer.out
    assert "val/cat/zero.png  empty: zero bytes" in answer.out
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_evaluate_leaves_out_what_the_run_left_out(tlx: Callable[..., Answer], train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", THREE)
    (root / "test" / "cat" / "zero.png").touch()
    outcome = train(root, "data.on_bad=skip")
    answer = tlx("evaluate", f"run={runs_of(tmp_path)[0]}")
    assert answer.code == 0, answer.err
    assert "images left out: 1 (1 empty)" in answer.out
    assert f"{outcome.result['metrics']['test']['loss']:.4f}" in answer.out


def test_a_resumed_run_scans_again_and_ends_the_same(tlx: Callable[..., Answer], train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "root", {"cat": 12, "dog": 12})
    (root / "cat" / "zero.png").touch()
    words = ("data.on_bad=skip", "features=off", "data.batch_size=8")
    whole, part = (train(root, *words, f"trainer.max_epochs={epochs}") for epochs in (2, 1))
    assert whole.data == part.data
    assert tlx("resume", f"run={part.folder}", "trainer.max_epochs=2").code == 0
    resumed = json.loads((part.folder / "result.json").read_text())
    assert resumed["images_left_out"] == whole.result["images_left_out"] == 1
    assert resumed["fingerprints"]["data"] == whole.result["fingerprints"]["data"]
    assert json.loads((part.folder / "data.json").read_text()) == whole.data


def test_a_built_in_set_is_counted_without_a_scan(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    answer = tlx("case=small_similar", *TINY, "features.profile_up_to=0", "data=digits", "data.per_class=3")
    assert answer.code == 0, answer.err
    (folder,) = runs_of(tmp_path)
    data = json.loads((folder / "data.json").read_text())
    assert (data["scan"], data["left_out"], data["warnings"]) == (None, 0, [])
    assert set(data["splits"]["train"].values()) == {3}
    assert "scan" not in answer.out


def test_a_training_that_meets_a_broken_image_keeps_its_folder(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "photos", THREE)
    path = root / "train" / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:-40])  # its header is whole
    outcome = train(root)
    assert outcome.code == 2
    assert "1.png cannot be decoded" in outcome.err
    assert (outcome.folder / "failure.json").is_file()
    assert outcome.data["bad"] == []


def test_copies_are_looked_for_once_bad_images_are_left_out(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "photos", THREE)
    (root / "train" / "cat" / "empty.png").touch()
    for number in range(8):
        shutil.copy(root / "test" / "dog" / f"{number % 2}.png", root / "train" / "dog" / f"copy{number}.png")
    outcome = train(root)
    assert "copies were not looked for; data.on_bad=skip looks past" in outcome.data["warnings"][0]
    assert "data.scan=full looks at every pixel" in outcome.err
    across = train(root, "data.on_bad=skip").data["duplicates"]["across_splits"]
    assert across["images"] == 10
    assert len(across["examples"]) > 5  # all of them, to go through


def test_few_validation_images_of_a_class_are_told(train: Run, tmp_path: Path) -> None:
    root = make(tmp_path / "photos", {"train/cat": 30, "train/dog": 3, "test/cat": 3, "test/dog": 3})
    warned = train(root).data["warnings"]
    assert any("1 validation images of 'dog'" in one and "almost by chance" in one for one in warned)
    assert not any("validation images of" in one for one in train(make(tmp_path / "other", THREE)).data["warnings"])
