"""Answers: a row an image in order, whatever it is called; whole lines all along, and whole files at the end."""

from __future__ import annotations

import csv
import errno
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.errors import MachineError
from tlx.results.answers import Answer, Answers
from tlx.results.spreadsheet import uncell

CLASSES = ["=cat", 'do"g', "b,ird\n", "\udcffox"]


def answer(first: int, last: int, faults: dict[int, str], width: int = 0, top: int = 2) -> Answer:
    """Say of image k that it is of the class k modulo 4 with probability 0.5 + k / 1000."""
    index = np.array([k for k in range(first, last) if k not in faults], np.int64)
    classes = np.stack([(index + step) % len(CLASSES) for step in range(top)], 1)
    shares = np.stack([0.5 / (1 + step) + index / 1000 for step in range(top)], 1)
    return Answer(first, last, faults, index, classes, shares, np.repeat(index[:, None], width, 1).astype(np.float32))


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8"), newline="")))


def test_rows_lines_and_features_say_the_same(tmp_path: Path) -> None:
    names = ["a.jpg", "=1+1.jpg", "new\nline.jpg", "\udcff.jpg", "e.jpg"]
    answers = Answers(tmp_path, names.__getitem__, CLASSES, 5, 2, width=3)
    answers.add(answer(0, 3, {1: "empty: zero bytes"}, 3))
    answers.add(answer(3, 5, {}, 3))
    assert [file.name for file in sorted(tmp_path.iterdir())] == [f"{file}.partial" for file in sorted(answers.files)]
    answers.finish()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(answers.files)
    table, text = rows(tmp_path / "predictions.csv"), (tmp_path / "predictions.jsonl").read_bytes()
    assert text.isascii()
    lines = [json.loads(line) for line in text.decode().splitlines()]
    assert [line["image"] for line in lines] == names
    assert [uncell(row["image"]) for row in table] == [*names[:3], "\\udcff.jpg", "e.jpg"]
    assert [row["image"][0] for row in table][1] == "'"
    assert list(table[0]) == ["image", "predicted", "probability", "error", "predicted_2", "probability_2"]
    for index, (row, line) in enumerate(zip(table, lines, strict=True)):
        if index == 1:
            assert (row["predicted"], row["probability"], row["error"]) == ("", "", "empty: zero bytes")
            assert (line["predicted"], line["probability"], line["probabilities"]) == (None, None, {})
            assert line["error"] == "empty: zero bytes"
            continue
        assert (line["predicted"], line["error"], row["error"]) == (CLASSES[index % 4], "", "")
        assert float(row["probability"]) == line["probability"] == pytest.approx(0.5 + index / 1000)
        assert list(line["probabilities"]) == [CLASSES[index % 4], CLASSES[(index + 1) % 4]]
        assert list(line["probabilities"].values()) == [line["probability"], float(row["probability_2"])]
    features = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert (features.shape, features.dtype) == ((5, 3), np.float32)
    np.testing.assert_array_equal(features[:, 0], [0, np.nan, 2, 3, 4])


def test_outputs_that_are_not_finite_are_no_prediction(tmp_path: Path) -> None:
    said = answer(0, 3, {})
    said.probabilities[1] = np.nan
    answers = Answers(tmp_path, str, CLASSES, 3, 2)
    answers.add(said)
    answers.finish()
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["error"] for line in lines] == ["", "the network's outputs are not finite", ""]
    assert answers.faults == 1


def test_what_is_interrupted_leaves_whole_lines_and_an_array_of_as_many_rows(tmp_path: Path) -> None:
    answers = Answers(tmp_path, str, CLASSES, 1000, 2, width=3)
    answers.add(answer(0, 4, {2: "x"}, 3))
    answers.close()
    assert [row["image"] for row in rows(tmp_path / "predictions.csv.partial")] == ["0", "1", "2", "3"]
    assert len((tmp_path / "predictions.jsonl.partial").read_text().splitlines()) == 4
    assert np.load(tmp_path / "embeddings.npy.partial").shape == (4, 3)


def test_several_processes_make_the_files_that_one_makes(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "three"]
    for world, folder in zip((1, 3), folders, strict=True):
        folder.mkdir()
        parts = [Answers(folder, str, CLASSES, 7, 2, 3, (rank, world)) for rank in range(world)]
        for rank, part in reversed(list(enumerate(parts))):
            first, last = 7 * rank // world, 7 * (rank + 1) // world
            part.add(answer(first, last, {5: "x"} if first <= 5 < last else {}, 3))
            part.close()
        parts[0].finish()
    one, three = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert one == three


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path) -> None:
    answers = Answers(tmp_path, str, CLASSES, 8, 2)
    answers.add(answer(0, 4, {}))

    class Full:
        """Takes half of what it is given, then nothing."""

        def __init__(self, file: Any) -> None:
            self.file, self.full = file, False

        def write(self, content: Any) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.full = True
            return int(self.file.write(content[: len(content) // 2]))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    table = answers._files["predictions.csv"]
    table._file = Full(table._file)  # type: ignore[assignment]
    with pytest.raises(MachineError, match="free some space"):
        answers.add(answer(4, 8, {}))
    answers.close()
    assert [row["image"] for row in rows(tmp_path / "predictions.csv.partial")] == ["0", "1", "2", "3"]


def test_a_folder_that_cannot_be_written_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="choose another folder: output=PATH"):
        Answers(tmp_path / "missing", str, CLASSES, 1, 1)


TEXT = st.text(st.characters(exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(TEXT, st.none() | TEXT.filter(bool)), min_size=1, max_size=6))
def test_names_and_reasons_of_any_kind_are_read_back(given_rows: list[tuple[str, str | None]]) -> None:
    names = [name for name, _ in given_rows]
    faults = {index: told for index, (_, told) in enumerate(given_rows) if told is not None}
    with tempfile.TemporaryDirectory() as made:
        answers = Answers(Path(made), names.__getitem__, CLASSES, len(names), 1)
        answers.add(answer(0, len(names), faults, top=1))
        answers.finish()
        lines = [json.loads(line) for line in (Path(made) / "predictions.jsonl").read_bytes().splitlines()]
        table = rows(Path(made) / "predictions.csv")
    assert [(line["image"], line["error"] or None) for line in lines] == given_rows
    spelt = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    assert [uncell(row["image"]) for row in table] == spelt
    assert [bool(row["error"]) for row in table] == [index in faults for index in range(len(names))]
