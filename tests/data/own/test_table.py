"""Tables: what they may hold, and what is said of a row that is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import TINY, Answer
from tests.data.own.forms import COLOURS, complaint, make_photos, names, rows_of, write_table
from tlx.config.groups import TableData
from tlx.data.found import Found
from tlx.data.own import inside as insides
from tlx.data.own.names import Names
from tlx.data.own.table import open_table
from tlx.data.settle import settle
from tlx.errors import EXIT_INPUT, EXIT_MACHINE, InputError, MachineError

FILES = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of files that a table may list; opening it reads none of them."""
    root = tmp_path_factory.mktemp("files") / "photos"
    (root / "more").mkdir(parents=True)
    for index in range(FILES):
        (root / ("more" if index % 2 else ".") / f"{index:02d}.png").write_bytes(bytes([index]))
    return root


def path(index: int) -> str:
    return f"{'more/' if index % 2 else ''}{index:02d}.png"


def table(root: Path, file: Path, rows: Sequence[Sequence[object]], header: str, **asked: Any) -> TableData:
    return TableData(file=str(write_table(file, rows, header.split())), root=str(root), **asked)


def opened(root: Path, file: Path, rows: Sequence[Sequence[object]], header: str, **asked: Any) -> Found:
    return open_table(table(root, file, rows, header, **asked))


def listed(found: Found) -> dict[str, list[tuple[str, str]]]:
    """List the images of every split with their classes."""
    return {
        split: [(images.name(i), found.classes[label]) for i, label in enumerate(images.labels)]
        for split, images in found.given.items()
    }


LABELS = st.text("ab Ü日,;'\"\t-", min_size=1, max_size=3).map(str.strip).filter(bool) | st.integers(-3, 12).map(str)
SPLIT_WORDS = st.sampled_from(["train", "Training", "val", "valid", "VALIDATION", "test", " testing "])
MEANT = {"tr": "train", "va": "val", "te": "test"}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(LABELS, SPLIT_WORDS, st.integers(0, 5)), min_size=1, max_size=FILES),
    st.permutations(range(FILES)),
    st.sampled_from(["csv", "parquet"]),
)
def test_any_labels_and_splits_are_taken_as_they_stand(
    root: Path, tmp_path: Path, columns: list[tuple[str, str, int]], order: list[int], form: str
) -> None:
    rows = [(path(i), label, split, group) for i, (label, split, group) in zip(order, columns, strict=False)]
    expected: dict[str, list[tuple[str, str]]] = {"train": [], "val": [], "test": []}
    members: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for image, label, split, group in rows:
        meant = MEANT[split.strip().lower()[:2]]
        expected[meant].append((image, label))
        members[meant].append(group)
    known = {label for _, label in expected["train"]}
    config = table(root, tmp_path / f"t.{form}", rows, "image label split group", split_column="split",
                   group_column="group")  # fmt: skip
    if not known or not {label for _, label in chain(*expected.values())} <= known:
        with pytest.raises(InputError, match=r"a label that train lacks|no rows of the split train"):
            open_table(config)
        return
    found = open_table(config)
    assert listed(found) == {split: some for split, some in expected.items() if some}
    whole = all(label.lstrip("-").isdecimal() and str(int(label)) == label for label in known)
    assert list(found.classes) == sorted(known, key=int if whole else str)
    for split in found.given:  # numbers of groups tell them apart as the column does
        pairs = set(zip(members[split], found.groups[split].tolist(), strict=True))
        assert len(pairs) == len(set(members[split])) == len(set(found.groups[split].tolist()))
    everywhere = {pair for s in found.given for pair in zip(members[s], found.groups[s].tolist(), strict=True)}
    assert len(everywhere) == len({group for group, _ in everywhere})


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        (["10", "9", "a"], ("10", "9", "a")),
        (["007", "07", "7"], ("007", "07", "7")),
        (["NA", "null", "nan"], ("NA", "nan", "null")),
        ([" cat", "cat ", "dog"], ("cat", "dog")),
    ],
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_classes_are_words_in_order(labels: list[Any], classes: tuple[str, ...], form: str, root: Path, tmp_path: Path
) -> None:  # fmt: skip
    rows = [(path(i), label) for i, label in enumerate(labels)]
    assert opened(root, tmp_path / f"t.{form}", rows, "image label").classes == classes


def test_dictionaries_of_parquet_are_text(root: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    labels = pa.array(["b", "a", "b"]).dictionary_encode()
    pa.parquet.write_table(pa.table({"image": [path(i) for i in range(3)], "label": labels}), tmp_path / "t.parquet")
    found = open_table(TableData(file=str(tmp_path / "t.parquet"), root=str(root)))
    assert (found.classes, found.given["train"].labels.tolist()) == (("a", "b"), [1, 0, 1])


@pytest.mark.parametrize(("delimiter", "mark"), [(",", ""), (";", ""), ("\t", ""), (";", "\ufeff")])
def test_delimiters_and_marks_of_other_programs(delimiter: str, mark: str, root: Path, tmp_path: Path) -> None:
    lines = [("label", "note", "image"), ("a", '"x, y; ""z"""', path(0)), ("b", "", path(1)), ("b", "", path(2))]
    (tmp_path / "t.csv").write_text(mark + "\r\n".join(map(delimiter.join, lines)) + "\r\n", encoding="utf-8")
    found = open_table(TableData(file=str(tmp_path / "t.csv"), root=str(root)))
    assert listed(found) == {"train": [(path(0), "a"), (path(1), "b"), (path(2), "b")]}


def test_other_columns_are_asked_for_by_name(root: Path, tmp_path: Path) -> None:
    rows = [(path(0), "cat", 5), (path(1), "dog", 7)]
    found = opened(root, tmp_path / "t.csv", rows, "path breed image", image_column="path", label_column="breed")
    assert listed(found) == {"train": [(path(0), "cat"), (path(1), "dog")]}


def test_paths_start_from_the_tables_own_folder(root: Path) -> None:
    file = write_table(root / "t.csv", [(path(0), "a"), (path(1), "b")], ("image", "label"))
    try:
        found = open_table(TableData(file=str(file)))
        assert found.given["train"].content(1) == b"\x01"
    finally:
        file.unlink()


def test_paths_that_stay_inside_are_made_plain(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    given = [f"./{path(0)}", f"more//{path(1)[5:]}", f"more/../{path(2)}", f"{root}/{path(3)}", f"{link}/{path(4)}"]
    rows = [(one, index % 2) for index, one in enumerate(given)]
    for top in (root, link):
        found = opened(top, tmp_path / "t.csv", rows, "image label")
        assert [name for name, _ in listed(found)["train"]] == [path(i) for i in range(5)]


@pytest.mark.skipif(sys.platform == "win32", reason="not every name is one there")
def test_odd_names_are_found(tmp_path: Path) -> None:
    odd = ["é 日本.png", "a,b;c.png", 'it\'s "q".png', "tab\t.png", "back\\slash.png", "colon:.png", "[x]*?.png"]
    for folder in ("few", "many"):
        (tmp_path / "r" / folder).mkdir(parents=True)
        for name in odd:
            (tmp_path / "r" / folder / name).touch()
    for index in range(insides.LISTED_FROM):
        (tmp_path / "r" / "many" / str(index)).touch()
    paths = [f"{f}/{n}" for f in ("few", "many") for n in odd]
    paths += [f"many/{i}" for i in range(insides.LISTED_FROM)]
    found = opened(tmp_path / "r", tmp_path / "t.csv", [(p, i % 2) for i, p in enumerate(paths)], "image label")
    assert [name for name, _ in listed(found)["train"]] == paths


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("many", [False, True], ids=["looked up", "listed"])
def test_links_are_followed_but_not_out(many: bool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for folder in (root / "real", tmp_path / "outside"):
        (folder / "x.png").touch()
    others = [f"real/{i}.png" for i in range(insides.LISTED_FROM if many else 1)]
    for other in others:
        (root / other).touch()
    (root / "real" / "link.png").symlink_to("x.png")
    (root / "alias").symlink_to("real")
    (root / "real" / "leaves.png").symlink_to(tmp_path / "outside" / "x.png")
    (root / "away").symlink_to(tmp_path / "outside")
    good = ["real/link.png", "alias/x.png", *others]
    rows = [(p, i % 2) for i, p in enumerate(good)]
    assert [name for name, _ in listed(opened(root, tmp_path / "t.csv", rows, "image label"))["train"]] == good
    for bad in ("real/leaves.png", "away/x.png"):
        said = complaint(table(root, tmp_path / "t.csv", [*rows, (bad, 0)], "image label"))
        assert f"t.csv: 1 row has a path that leads out of {root}: row {len(rows) + 1} ({bad!r}); give" in said


GOOD = [[path(0), "a", "train"], [path(1), "b", "train"], [path(2), "a", "val"], [path(3), "b", "test"]]
SPLIT = {"split_column": "split"}


@pytest.mark.parametrize(
    ("changes", "asked", "told"),
    [
        ({(2, 2): "tset"}, SPLIT, "1 row has an unknown split: row 3 ('tset'); write train, val or test (rows are"),
        ({(0, 2): "val", (1, 2): "val"}, SPLIT, "has no rows of the split train; check data.split_column"),
        ({(3, 1): "c"}, SPLIT, "1 row has a label that train lacks: row 4 ('c'); add images of it to train"),
        ({(1, 1): ""}, SPLIT, f"1 row has no label: row 2 ({path(1)!r}); fill it in"),
        ({(1, 1): "  "}, SPLIT, f"1 row has no label: row 2 ({path(1)!r}); fill it in"),
        ({(0, 0): "", (2, 0): ""}, SPLIT, "2 rows have no path: row 1 (''), row 3 (''); fill it in"),
        ({(3, 2): ""}, SPLIT, f"1 row has no split: row 4 ({path(3)!r}); fill it in"),
        ({(3, 2): ""}, {"group_column": "split"}, f"1 row has no group: row 4 ({path(3)!r}); fill it in"),
        ({(1, 0): "x.png"}, {}, "1 row has an image that is missing: row 2 ('x.png'); check data.root="),
        ({(1, 0): "more"}, {}, "1 row has an image that is missing: row 2 ('more')"),
        ({(1, 0): "nul\0.png"}, {}, "1 row has an image that is missing: row 2 ('nul\\x00.png')"),
        ({(i, 0): f"x{i}" for i in range(4)}, {}, "missing: row 1 ('x0'), row 2 ('x1'), row 3 ('x2') and 1 more;"),
        ({(1, 0): "../photos2/x.png"}, {}, "leads out of {root}: row 2 ('../photos2/x.png'); give data.root="),
        ({(1, 0): "/etc/passwd"}, {}, "1 row has a path that leads out of {root}: row 2 ('/etc/passwd')"),
        ({(1, 0): "."}, {}, "1 row has a path that leads out of {root}: row 2 ('.')"),
        ({(2, 0): path(1)}, {}, "1 row lists an image again under another label: row 3 ('more/01.png: a,"),
        ({(2, 0): f"more/../{path(1)}"}, {}, "row 3 ('more/01.png: a, in row 2 b')"),
        ({}, {"image_column": "file"}, "has no column 'file'; give data.image_column=...: one of: image, label, split"),
        ({}, {"label_column": "lable"}, "has no column 'lable'; give data.label_column=...: did you mean 'label'?"),
        ({}, {"split_column": "Split"}, "has no column 'Split'; give data.split_column=...: did you mean 'split'?"),
        ({}, {"group_column": "patient"}, "has no column 'patient'; give data.group_column=..."),
        ({(i, 1): "same" for i in range(4)}, {}, "t.FORM has one class only: same; give at least two classes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_wrong_in_a_row_is_told(
    changes: dict[tuple[int, int], str], asked: dict[str, str], told: str, form: str, root: Path, tmp_path: Path
) -> None:
    rows = [list(row) for row in GOOD]
    for (row, column), value in changes.items():
        rows[row][column] = value
    said = complaint(table(root, tmp_path / f"t.{form}", rows, "image label split", **asked))
    assert told.replace("{root}", str(root)).replace("FORM", form) in said
    assert str(tmp_path / f"t.{form}") in said


def test_the_good_rows_are_good(root: Path, tmp_path: Path) -> None:
    """The negative control of the test above."""
    found = opened(root, tmp_path / "t.csv", GOOD, "image label split", **SPLIT)
    assert listed(found) == {"train": [(path(0), "a"), (path(1), "b")], "val": [(path(2), "a")],
                             "test": [(path(3), "b")]}  # fmt: skip
    assert found.notes == ()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", None, "there is no table"),
        ("t.parquet", None, "there is no table"),
        ("t.xlsx", b"PK", "has no ending of a table; give one of .csv, .tsv, .txt, .parquet, .pq"),
        ("t.csv", b"", "is empty; its first line names the columns"),
        ("t.csv", b"image,label\n", "has no rows; list images below its header"),
        (
            "t.csv",
            b"image,label\na,b\nc,d,e\n",
            "cannot be read (CSV parse error: line 3: Expected 2 columns, got 3: c,d,e",
        ),
        ("t.csv", b"image,label,image\na,b,c\n", "has 2 columns 'image'; rename all but one"),
        ("t.csv", "image,label\nä,b\n".encode("latin-1"), "save it as UTF-8"),
        ("t.csv", "bild,täxt\na,b\n".encode("latin-1"), "is not in UTF-8; save it as UTF-8"),
        ("t.parquet", b"image,label\na,b\n", "cannot be read (Parquet magic bytes not found"),
    ],
)
def test_what_is_no_table_is_told(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert told in complaint(TableData(file=str(tmp_path / name)))


def test_other_things_than_files_are_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    assert f"{tmp_path}/t.csv is a folder; give data.file=PATH" in complaint(TableData(file=str(tmp_path / "t.csv")))
    config = table(root, tmp_path / "u.csv", GOOD, "image label split")
    config.root = str(tmp_path / "nowhere")
    assert f"data.root={tmp_path}/nowhere is no folder; give the one that" in complaint(config)


def test_columns_of_other_types_are_told(tmp_path: Path) -> None:
    rows = [("a.png", 0.5), ("b.png", 1.5)]
    said = complaint(table(tmp_path, tmp_path / "t.parquet", rows, "image label"))
    assert "the column 'label' of" in said
    assert "holds neither text nor whole numbers but double; choose another: data.label_column=..." in said


def test_a_table_that_may_not_be_read_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MachineError, match="may not be read; change its permissions") as caught:
        open_table(TableData(file=str(tmp_path / "t.csv")))
    assert caught.value.exit_code == EXIT_MACHINE


def test_an_image_listed_twice_is_noted(root: Path, tmp_path: Path) -> None:
    rows = [*GOOD, [path(0), "a", "train"]]
    assert opened(root, tmp_path / "t.csv", rows, "image label split", **SPLIT).notes == (
        "rows that list an image again: 1",
    )
    rows += [[path(0), "a", "test"]]
    assert opened(root, tmp_path / "t.csv", rows, "image label split", **SPLIT).notes == (
        "rows that list an image again: 2",
        "1 of them in another split: what is tested there was trained on",
    )


def test_groups_are_not_parted(root: Path, tmp_path: Path) -> None:
    rows = [(path(i), "ab"[i % 2], f"patient {i // 4}") for i in range(FILES)]
    config = table(root, tmp_path / "t.csv", rows, "image label patient", group_column="patient")
    source = settle(open_table(config), config, 0)
    patient = {image: who for image, _, who in rows}
    held = [{patient[name] for name in some} for some in names(source).values()]
    assert sum(map(len, held)) == len(set.union(*held)) == FILES // 4
    without = table(root, tmp_path / "t.csv", rows, "image label patient")
    parted = [{patient[n] for n in some} for some in names(settle(open_table(without), without, 0)).values()]
    assert sum(map(len, parted)) > FILES // 4  # the negative control


def test_a_bad_row_ends_the_command_with_its_line(root: Path, tmp_path: Path, tlx: Callable[..., Answer]) -> None:
    file = write_table(tmp_path / "t.csv", [*GOOD, ["gone.png", "a", "train"]])
    answer = tlx("case=small_similar", "data=table", f"data.file={file}", f"data.root={root}", *TINY)
    assert answer.code == EXIT_INPUT
    assert "Traceback" not in answer.err
    told = " ".join(answer.err.split())
    assert "tlx: error:" in told
    assert "1 row has an image that is missing: row 5 ('gone.png'); check data.root=" in told


def test_a_table_trains_and_evaluates_on_splits_of_its_own(tmp_path: Path, tlx: Callable[..., Answer]) -> None:
    photos = make_photos(tmp_path / "photos")
    file = write_table(photos / "t.parquet", [(row.image, row.label) for row in rows_of(photos)], ("image", "label"))
    words = ("data=table", f"data.file={file}", "data.workers=0")
    answer = tlx("case=small_similar", *words, *TINY, f"hydra.run.dir={tmp_path}/run")
    assert (answer.code, answer.err) == (0, "")
    assert "table photos/t.parquet, 3 classes" in answer.out
    again = tlx("evaluate", f"run={tmp_path}/run", *words, "split=val")
    assert (again.code, again.err) == (0, "")


def test_names_are_kept_as_they_are() -> None:
    odd = ["", "a.png", "é 日本", os.fsdecode(b"not\xffutf8"), "end"]
    packed = Names.of(odd)
    assert list(packed) == odd
    assert packed == odd
    assert packed != odd[:-1]
    assert packed != [*odd[:-1], "End"]
    assert (packed[-1], packed[1:3], len(Names.of([]))) == ("end", ("a.png", "é 日本"), 0)
    for out in (5, -6):
        with pytest.raises(IndexError):
            packed[out]


def test_classes_of_one_source_are_no_others(root: Path, tmp_path: Path) -> None:
    found = opened(root, tmp_path / "t.csv", [(path(i), c) for i, c in enumerate(COLOURS)], "image label")
    assert found.given["train"].labels.dtype == np.int64
    found = opened(root, tmp_path / "t.csv", [(path(i), i % 2) for i in range(12)], "image label")
    assert found.classes == ("0", "1")
