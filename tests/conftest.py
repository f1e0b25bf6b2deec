"""Small data, the real config composed and shrunk, and the command line run inside this process."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: threads cost more than they bring
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # as the door sets it, before torch is imported

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# How long an example takes says nothing on a busy machine, and the first one imports what it needs.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")

# Nothing of a test is found again by another, nor by the person who runs them.
CACHES = os.environ["TLX_CACHE"] = tempfile.mkdtemp(prefix="tlx-tests-")
atexit.register(shutil.rmtree, CACHES, ignore_errors=True)

# A timm network made for tests, at 32 px, from random weights: a run takes a second.
TINY = ("backbone=timm", "backbone.name=test_resnet", "backbone.image_size=32", "init=scratch", "trainer=cpu")


class Answer(NamedTuple):
    """What a command line said."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin with empty caches."""
    monkeypatch.setenv("TLX_CACHE", str(Path(CACHES) / secrets.token_hex(8)))
    if again := sys.modules.get("tlx.network.again"):
        again._last.clear()  # what a test has put in place must not be answered by what another has built


@pytest.fixture
def tlx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run ``python -m tlx WORDS`` in this process, in an empty folder."""
    from tlx.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tlx", *words])
        capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            if "report=true" not in words:  # pages have tests of their own, and take longer than a tiny training
                patch.setattr("tlx.verbs.train.make_page", lambda *_: None)
                patch.setattr("tlx.verbs.evaluate.make_page_of", lambda *_: None)
            with pytest.raises(SystemExit) as end:
                main()
        out, err = capfd.readouterr()
        return Answer(int(end.value.code or 0), out, err)

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make class folders with train/ and val/: two classes that differ in colour, 12 and 6 images each."""
    root = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for name, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(np.array(colour) + rng.integers(-40, 40, (40, 50, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return root


def runs_of(folder: Path) -> list[Path]:
    """List the run folders below a working folder, oldest first."""
    return sorted(path.parent for path in (folder / "outputs").rglob("config.json"))


Scorecard = Callable[[str, dict[str, int]], None]


@pytest.fixture
def scorecard(record_property: Callable[[str, object], None]) -> Scorecard:
    """Tell what was counted for a line of the scorecard: ``scorecard("R2", {"kills": 100, "unloadable": 0})``."""
    return lambda line, counts: record_property("scorecard", (line, counts))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write out lone surrogates of what a test has said: a worker cannot send them, and ends."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the scorecard: of every line the counts of all its tests together."""
    lines: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for line, counts in (value for name, value in report.user_properties if name == "scorecard"):
                sums = lines.setdefault(line, {})
                for what, count in counts.items():
                    sums[what] = sums.get(what, 0) + count
    if lines:
        terminalreporter.section("scorecard")
        for line in sorted(lines, key=lambda line: int(line[1:])):
            told = ", ".join(f"{count:,} {what}" for what, count in lines[line].items())
            terminalreporter.write_line(f"{line} {told}")
