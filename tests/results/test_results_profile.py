"""The profile as it is shown: table, sentence, CSV and picture."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from tlx.results import profile as profiles
from tlx.results.spreadsheet import as_csv


def row(index: int, accuracy: float, kind: str = "stage", name: str = "", head: bool = False) -> dict[str, Any]:
    return {
        "kind": kind, "name": name or f"layer{index}", "stage": index if kind == "stage" else None, "width": 1024,
        "parameters": 2_145_088, "multiply_adds": 515_884_544, "head": head,
        "accuracy": accuracy, "standard_error": 0.0312, "loss": 0.0, "strength": 0.1,
    }  # fmt: skip


def plain(accuracies: list[float], best: int, auto: int, cut: int | None, own: Any = None) -> dict[str, Any]:
    rows = [row(i, a, head=i == len(accuracies) - 1) for i, a in enumerate(accuracies)]
    return {"rows": rows, "best": best, "auto": auto, "cut": cut, "own": own, "images": 208, "folds": 5, "repeats": 4}


OWN = row(9, 0.64, "all", "all up to layer2")


def printed(profile: dict[str, Any]) -> list[str]:
    out = Console(file=io.StringIO(), width=140)
    profiles.show(out, profile)
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_table_has_a_row_a_depth_and_marks_them() -> None:
    lines = printed(plain([0.51, 0.55, 0.625], best=2, auto=2, cut=0))
    assert "208 training images, 5-fold cross-validation 4 times" in lines[1]
    assert [word in lines[2] for word in ("depth", "name", "width", "accuracy ± SE", "parameters", "multiply-adds")]
    assert all(text in lines[3] for text in ("layer0", "1,024", "0.510 ± 0.031", "2.15 M", "516 M", "this cut"))
    assert "this cut" not in lines[4]
    assert "best, cut=auto" in lines[5]
    assert "layer2 = head" in lines[5]
    assert lines[3].count("█") < lines[5].count("█")


def test_a_cut_that_is_no_depth_stands_last() -> None:
    lines = printed(plain([0.5, 0.6], best=1, auto=1, cut=None, own=OWN))
    assert "all up to layer2" in lines[-1]
    assert lines[-1].rstrip().endswith("this cut")
    assert sum("this cut" in line for line in lines) == 1


@pytest.mark.parametrize(("repeats", "often"), [(1, ""), (2, " twice"), (3, " 3 times")])
def test_how_often_is_said(repeats: int, often: str) -> None:
    assert profiles.method({"folds": 5, "repeats": repeats}) == f"5-fold cross-validation{often}"


@pytest.mark.parametrize(("share", "text"), [(0.0, ""), (1.0, "█" * 20), (0.5, "█" * 10), (0.025, "▌"), (0.05, "█")])
def test_a_bar_is_as_long_as_its_share(share: float, text: str) -> None:
    assert profiles.bar(share) == text


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (
            plain([0.51, 0.62], 1, 1, 0),
            "stage 1 (layer1) probes best at 0.620 ± 0.031, this cut 0.510; cut=auto would take it",
        ),
        (
            plain([0.617, 0.62, 0.4], 1, 0, 2),
            "stage 1 (layer1) probes best at 0.620 ± 0.031, this cut 0.400; "
            "cut=auto would take stage 0 (layer0), 0.617",
        ),
        (
            plain([0.51, 0.62], 1, 1, 1),
            "this cut, stage 1 (layer1), probes at 0.620 ± 0.031 and is what cut=auto would take",
        ),
        (
            plain([0.618, 0.62], 1, 0, 0),
            "this cut, stage 0 (layer0), probes at 0.618 ± 0.031 and is what cut=auto would take; "
            "best is stage 1 (layer1), 0.620 ± 0.031",
        ),
        (
            plain([0.618, 0.62], 1, 0, 1),
            "this cut, stage 1 (layer1), probes best at 0.620 ± 0.031; cut=auto would take stage 0 (layer0), 0.618",
        ),
        (
            plain([0.51, 0.62], 1, 1, None, OWN),
            "of single depths, stage 1 (layer1) probes best at 0.620 ± 0.031, this cut 0.640; cut=auto would take it",
        ),
    ],
)
def test_the_sentence_says_what_the_profile_shows(profile: dict[str, Any], said: str) -> None:
    assert profiles.sentence(profile) == said


def test_the_csv_holds_every_row() -> None:
    profile = plain([0.5, 0.625], best=1, auto=1, cut=None, own=OWN)
    rows = list(csv.DictReader(io.StringIO(as_csv(profiles.COLUMNS, profiles.listed(profile)))))
    assert [r["depth"] for r in rows] == ["0", "1", ""]
    assert [(r["best"], r["auto"], r["cut"]) for r in rows] == [
        ("False", "False", "False"), ("True", "True", "False"), ("False", "False", "True"),
    ]  # fmt: skip
    assert [float(r["accuracy"]) for r in rows] == [0.5, 0.625, 0.64]
    assert rows[1]["multiply_adds"] == "515884544"


@pytest.mark.parametrize("count", [1, 5, 13])
@pytest.mark.parametrize("own", [None, OWN])
def test_the_picture_shows_every_depth(tmp_path: Path, count: int, own: Any) -> None:
    accuracies = [0.3 + 0.05 * i for i in range(count)]
    profiles.write(tmp_path, plain(accuracies, count - 1, count - 1, None if own else 0, own), classes=10)
    with Image.open(tmp_path / "profile.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 900
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24)}  # type: ignore[union-attr,misc]
    assert {(0, 0x72, 0xB2), (0xD5, 0x5E, 0)} <= colours  # the depths, and the mark of cut=auto
    assert (tmp_path / "profile.csv").is_file()


def test_a_picture_that_takes_more_depths_is_wider(tmp_path: Path) -> None:
    sizes = []
    for count in (5, 13):
        profiles.write(tmp_path, plain([0.5] * count, 0, 0, 0), classes=2)
        with Image.open(tmp_path / "profile.png") as picture:
            sizes.append(picture.size[0])
    assert sizes[0] < sizes[1]


def test_whoever_reads_results_does_not_pay_for_matplotlib() -> None:
    check = "import sys, tlx.results.profile, tlx.results.page.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
