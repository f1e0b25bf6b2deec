"""The pages of real runs: every section is there, hostile names are harmless, and they are made again from folders."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, Answer, runs_of
from tlx.errors import InputError
from tlx.results.page.report import write_report
from tlx.results.run_folder import RunFolder

Command = Callable[..., Answer]
SECTIONS = "surgery plan curves confusion classes wrong calibration data certificate cost repeat".split()  # noqa: SIM905
HOSTILE = ["<script>alert(1)</script>", '=HYPERLINK("x")', "two\nlines", os.fsdecode(b"\xff\xfe"), 'a & b\'s "c"']


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag == "section":
            self.sections.append(given.get("id") or "")
        self.addresses += [given[name] or "" for name in ("src", "href", "xlink:href", "action") if name in given]

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(page: Page) -> None:
    assert "script" not in page.tags
    assert "iframe" not in page.tags
    assert all(re.match(r"#|data:image/|data:,$|[\w%./-]+report\.html$", one) for one in page.addresses), page.addresses


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Make class folders with names that attack pages and tables, some with images that are wrong by construction."""
    root, rng = tmp_path / "hostile", np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 5)):
        for name in HOSTILE:
            folder = root / split / name.replace("/", "∕")
            folder.mkdir(parents=True)
            for index in range(count):
                picture = Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8))
                picture.save(folder / f"<img src=x onerror=alert({index})>.png")
    return root


@pytest.mark.parametrize(
    "words", [(), ("solver=sgd", "trainer.max_epochs=2"), ("freeze=lp_ft", "trainer.max_epochs=2")]
)
def test_a_page_has_every_section_and_names_are_only_names(
    tlx: Command, tmp_path: Path, hostile: Path, words: tuple[str, ...]
) -> None:
    answer = tlx("case=small_similar", *TINY, "data=folder", f"data.root={hostile}", *words, "report=true")
    assert answer.code == 0, answer.err
    assert re.search(r"^report +outputs/.*report\.html \([\d.]+ s\)$", answer.out, re.MULTILINE)
    folder = RunFolder(runs_of(tmp_path)[0])
    page = Page(folder.report)
    assert page.sections == SECTIONS
    harmless(page)
    assert "<script>alert(1)<∕script>" in page.text  # the name itself is there to be read
    assert "older tlx" not in page.text
    result = json.loads(folder.result.read_text())
    assert f"{100 * result['metrics']['test']['accuracy']:.1f} % of 25 test images" in page.text
    assert result["fingerprints"]["model"] in page.text
    unbeaten = (result["best"] or {}).get("unbeaten_by")
    assert ("whose weights are kept" in page.text) == ("whose weights are kept" in answer.out) == bool(unbeaten)
    names = {path.name for path in folder.plots.iterdir()}
    assert {"confusion.png", "reliability.png"} <= names
    assert ("profile.png" in names) == ("freeze=lp_ft" not in words)
    assert ("curve_loss.png" in names) == bool(words)
    shown = json.loads((folder.mistakes / "mistakes.json").read_text())
    wrong = round((1 - result["metrics"]["test"]["accuracy"]) * 25)
    assert shown["wrong"] == wrong
    assert len(shown["shown"]) == min(12, wrong) > 0
    assert result["cost"]["peak_memory"] > 10**7
    # From the folder alone, the same page comes again.
    before = folder.report.read_bytes()
    folder.report.unlink()
    again = tlx("report", f"runs={folder.path}")
    assert again.code == 0, again.err
    assert folder.report.read_bytes() == before


def test_a_run_of_an_older_tlx_has_a_page_that_says_what_is_missing(tlx: Command, tmp_path: Path, photos: Path) -> None:
    assert tlx("case=small_similar", *TINY, "data=folder", f"data.root={photos}").code == 0
    folder = RunFolder(runs_of(tmp_path)[0])
    assert not folder.report.exists()  # report=false
    for file in (folder.predictions, folder.data):
        file.unlink()
    result = json.loads(folder.result.read_text())
    del result["cost"], result["temperature"]
    folder.result.write_text(json.dumps(result))
    assert tlx("report", f"runs={folder.path}").code == 0
    page = Page(folder.report)
    assert page.sections == SECTIONS
    assert page.text.count("older tlx") == 5  # picture, plan, mistakes, predictions, scan


def test_a_page_is_made_of_its_own_folder_alone(tlx: Command, tmp_path: Path, photos: Path) -> None:
    words = (
        "case=large_different",
        *TINY,
        "data=folder",
        f"data.root={photos}",
        "trainer.max_epochs=1",
        "optimizer.lr=1e-9",
    )
    assert tlx(*words, "report=true").code == 0
    folder = RunFolder(runs_of(tmp_path)[0])
    listed = folder.mistakes / "mistakes.json"
    kept = json.loads(listed.read_text())
    assert kept["shown"], "a network that has not learned is wrong somewhere"
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    kept["shown"][0]["file"] = "../../../../secret.png"
    listed.write_text(json.dumps(kept))
    with pytest.raises(InputError, match="no file of its folder"):
        write_report(folder)
    result = json.loads(folder.result.read_text())
    del result["metrics"]["test"]["confusion_matrix"]
    folder.result.write_text(json.dumps(result))
    with pytest.raises(InputError, match="damaged"):
        write_report(folder)


def test_a_page_that_cannot_be_made_costs_a_line_and_not_the_run(
    tlx: Command, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("no page")

    monkeypatch.setattr("tlx.training.page.write_report", broken)
    answer = tlx("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "report=true")
    assert answer.code == 0
    assert "could not be made: ZeroDivisionError: no page; python -m tlx report runs=" in answer.out
    assert runs_of(tmp_path)[0].joinpath("result.json").is_file()


def test_a_sweep_has_a_page_that_compares_its_runs(tlx: Command, tmp_path: Path, photos: Path) -> None:
    words = ("-m", "case=small_similar,large_similar", *TINY, "data=folder", f"data.root={photos}", "seed=0,1")
    answer = tlx(*words, "trainer.max_epochs=1", "data.batch_size=8,-1", "report=true")
    assert answer.code == 2
    (folder,) = (tmp_path / "outputs" / "multirun").iterdir()
    page = Page(folder / "comparison.html")
    assert page.sections == ["quadrant", "all", "seeds", "costs", "curves", "pairs", "disagree", "failed"]
    harmless(page)
    assert sum(one.endswith("report.html") for one in page.addresses) == 4
    assert all((folder / one).is_file() for one in page.addresses if one.endswith("report.html"))
    assert "4 of 8 failed" in page.text
    assert page.text.count("data.batch_size=-1") >= 4
    assert "McNemar" in page.text
    assert "adjusted for 6 tests" in page.text
    # Other test images: nothing is paired, and the page says why.
    (folder / "together").mkdir()
    for index, run in enumerate(sorted(folder.glob("*_small_similar"))[:2]):
        if (run / "result.json").is_file():
            shutil.copytree(run, folder / "together" / f"{index}_run")
    one = folder / "together" / "0_run" / "result.json"
    result = json.loads(one.read_text())
    result["fingerprints"]["test"] = "0" * 64
    one.write_text(json.dumps(result))
    shutil.copytree(folder / "together" / "0_run", folder / "together" / "1_run", dirs_exist_ok=True)
    result["fingerprints"]["test"] = "1" * 64
    (folder / "together" / "1_run" / "result.json").write_text(json.dumps(result))
    assert tlx("report", f"runs=[{folder / 'together'}]", f"output={tmp_path / 'out'}").code == 0
    apart = Page(tmp_path / "out" / "comparison.html")
    assert "No paired tests: the runs have 2 different sets of test images" in apart.text
    assert "McNemar" not in apart.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("runs=nowhere",), "holds no run"),
        ((), "runs is missing"),
        (("runs=[]",), "too short"),
        (("runs=.", "foo=1"), "unknown key"),
    ],
)
def test_what_cannot_be_reported_is_told(tlx: Command, words: tuple[str, ...], told: str) -> None:
    answer = tlx("report", *words)
    assert answer.code == 2
    assert told in answer.err
