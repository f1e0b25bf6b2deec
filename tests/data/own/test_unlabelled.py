"""What ``images=`` means: a file, a folder, a pattern or a table; in one order, with nothing left out unsaid."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlx.data.decode import MAX_PIXELS
from tlx.data.fault import BadImageError
from tlx.data.own.unlabelled import Unlabelled, open_unlabelled
from tlx.errors import InputError


def opened(images: Path | str, column: str = "image", root: str | None = None, links: str = "inside") -> Unlabelled:
    return open_unlabelled(str(images), column, root, links, MAX_PIXELS)


def names(found: Unlabelled) -> list[str]:
    return [found.name(index) for index in range(len(found))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a folder of images at several depths, and of what is none."""
    root = tmp_path / "tree"
    for index, name in enumerate(("b.jpg", "a/z.PNG", "a/y.gif", "a-b/c.webp", "a/deep/er/x.tiff")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 9 + index, 3), 9 * index, np.uint8)).save(root / name)
    (root / "folder.jpg").mkdir()
    (root / "notes.txt").write_text("x")
    (root / "README").write_text("x")
    (root / ".hidden.jpg").write_text("x")
    return root


def test_a_folder_is_walked_in_one_order(tree: Path) -> None:
    found = opened(tree)
    assert names(found) == ["a-b/c.webp", "a/deep/er/x.tiff", "a/y.gif", "a/z.PNG", "b.jpg", "folder.jpg"]
    assert found.aside == "1 .txt, 1 without an ending, 1 hidden"
    assert found.read(3).size == (10, 8)
    with pytest.raises(BadImageError) as error:
        found.read(5)
    assert (error.value.reason, error.value.detail) == ("no image", "a folder")


def test_a_file_a_pattern_and_its_literal_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    assert names(opened("tree/b.jpg")) == ["tree/b.jpg"]
    assert names(opened("tree/*.jpg")) == ["tree/b.jpg", "tree/folder.jpg"]
    assert names(opened("tree/**/*.[Pg]*")) == ["tree/a/y.gif", "tree/a/z.PNG"]
    assert names(opened(f"{tree}/*")) == [f"{tree}/{name}" for name in ("README", "b.jpg", "folder.jpg", "notes.txt")]
    literal = tree / "[ab]*.jpg"
    (tree / "b.jpg").rename(literal)
    assert names(opened("tree/[ab]*.jpg")) == ["tree/[ab]*.jpg"]
    assert opened("tree/[ab]*.jpg").read(0).size == (9, 8)


@pytest.mark.parametrize(("words", "told"), [
    ("nowhere", "does not exist; give an image"), ("*.nope", "no file matches images=.*; give an image"),
    ("empty", "holds no images, but 1 .txt; their names end in one of"),
])  # fmt: skip
def test_nothing_is_an_error_that_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.txt").write_text("x")
    with pytest.raises(InputError, match=told):
        opened(words)


def test_links_out_are_refused_or_followed_and_links_to_folders_told(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "a" / "y.gif").rename(outside / "y.gif")
    (tree / "around").symlink_to(tree / "a")
    (tree / "inner.gif").symlink_to(tree / "b.jpg")
    assert "1 linked folders" in opened(tree).aside
    (tree / "out.gif").symlink_to(outside / "y.gif")
    with pytest.raises(InputError, match=r"out\.gif leads out of images, to .*follow such links: links=anywhere"):
        opened(tree)
    assert "out.gif" in names(opened(tree, links="anywhere"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadImageError, match="no file"):
        opened(tmp_path).read(0)


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_a_table_keeps_its_rows_and_what_it_calls_them(tree: Path, form: str) -> None:
    given_paths = ["b.jpg", "./a/z.PNG", str(tree / "a" / "y.gif"), "gone.jpg", "b.jpg"]
    file = tree / f"list.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"path": given_paths, "other": [1] * 5}), file)
    else:
        tab = "\t" if form == "tsv" else ","
        file.write_text("\n".join(["path" + tab + "other", *(f"{path}{tab}1" for path in given_paths)]) + "\n")
    found = opened(file, column="path")
    assert names(found) == given_paths
    assert [found.read(index).size[0] for index in (0, 1, 2, 4)] == [9, 10, 11, 9]
    with pytest.raises(BadImageError, match="is gone"):
        found.read(3)
    moved = tree.parent / file.name
    file.rename(moved)
    assert opened(moved, column="path", root=str(tree)).read(1).size[0] == 10


@pytest.mark.parametrize(("content", "told"), [
    ("path\na.jpg\n", "no column 'image'; give image_column=...: one of: path"),
    ("image\n", "has no rows"), ("image,x\n,1\na.jpg,1\n", r"1 row has no path: row 1 \(''\); fill it in"),
    ("image\na.jpg\n../x.jpg\n", r"a path that leads out of .*: row 2 \('../x.jpg'\); give root=PATH above it"),
])  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(InputError, match=told):
        opened(tmp_path / "list.csv")


ODD = st.binary(min_size=1, max_size=12).filter(lambda name: not {b"/"[0], 0} & set(name) and name[:1] != b".")


@given(st.sets(ODD, min_size=1, max_size=8))
def test_files_of_any_name_are_found_sorted_by_their_bytes(given_names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as made:
        for name in given_names:
            Path(made, os.fsdecode(name + b".png")).write_bytes(b"")
        found = opened(made)
        assert [os.fsencode(name) for name in names(found)] == sorted(name + b".png" for name in given_names)
