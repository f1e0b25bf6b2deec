"""Trust: verbs on a run folder that may come from anyone write nothing outside it, and copy nothing into it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import TINY, Answer

CANARY = "CANARY_b1946ac9"
VERBS = {
    "predict": ("predict", "run=run", "images=photos/val", "trainer=cpu", "output=said"),
    "evaluate": ("evaluate", "run=run", "trainer=cpu", "report=false"),
    "export": ("export", "run=run", "format=safetensors"),
    "report": ("report", "runs=[run,other]", "output=said"),
    "resume": ("resume", "run=run"),
}
FILES = ("config.json", "result.json", "data.json", "surgery.json", "model/network.json", "checkpoints/decisions.json")
VALUES: tuple[Any, ...] = (
    "../outside/secret.txt", "../../outside", "/etc/passwd", "run/../../outside/x", "", "<script>alert(1)</script>",
    '=HYPERLINK("x")', "two\nlines\r\n", "\0", "${oc.env:HOME}", "${data}", "https://host.invalid/x", 10**400, -1, 0, 1,
    2**63, 1e308, float("nan"), float("inf"), True, None, [], {}, [[]], {"": 0}, ["../outside"], "\ud800",
)  # fmt: skip


@pytest.fixture
def ground(
    tlx: Callable[..., Answer],
    photos: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Make a finished run, kept, and what stands outside of it; once, and each test has a copy."""
    made = tmp_path_factory.getbasetemp() / "hostile_folders"
    monkeypatch.setenv("TLX_CACHE", str(tmp_path.parent / f"{tmp_path.name}_cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if not made.exists():
        words = ("case=small_similar", *TINY, "data=folder", "data.root=photos", "callbacks.progress=false")
        assert tlx(*words, "hydra.run.dir=kept", "report=true").code == 0
        shutil.copytree(tmp_path / "kept", tmp_path / "other")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret.txt").write_text(CANARY)
        (tmp_path / "outside" / "secret.json").write_text(json.dumps({"note": CANARY}))
        Image.new("RGB", (8, 8)).save(tmp_path / "outside" / "secret.png", comment=CANARY)
        shutil.copytree(tmp_path, made)
    else:
        shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def fresh(folder: Path) -> None:
    """Put the run back as it was, and take away what a verb has written."""
    for name in ("run", "said"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "kept", folder / "run")


def outside(folder: Path) -> dict[str, str]:
    """Hash everything around the run's folder and the one that a verb writes."""
    own = ("run/", "said/", "other/")
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {n: hashlib.sha256(f.read_bytes()).hexdigest() for n, f in files.items() if not n.startswith(own)}


def leaked(folder: Path) -> list[str]:
    """List the files of a run and of an output, made by a verb, that hold what stands outside."""
    files = [file for name in ("run", "said") for file in (folder / name).rglob("*")]
    return [str(f) for f in files if f.is_file() and not f.is_symlink() and CANARY.encode() in f.read_bytes()]


def must_be_harmless(folder: Path, answer: Answer, before: dict[str, str], what: str) -> None:
    """Check what a verb has done to everything around, and how it ended."""
    assert outside(folder) == before, what
    said = answer.out + answer.err
    assert not leaked(folder), what
    assert CANARY not in said, what
    assert answer.code in (0, 2, 3), f"{what}: {answer.code} {said[-1500:]}"
    assert "Traceback" not in said, f"{what}: {said[-1500:]}"


def test_the_snapshot_and_the_search_notice(ground: Path) -> None:
    """The negative control."""
    fresh(ground)
    before = outside(ground)
    (ground / "run" / "x.txt").write_text("inside")
    assert outside(ground) == before
    (ground / "outside" / "new").touch()
    assert outside(ground) != before
    shutil.copy(ground / "outside" / "secret.txt", ground / "run")
    assert leaked(ground) == [str(ground / "run" / "secret.txt")]


LINKS = ("predictions.csv", "plots")
MORE_LINKS = ("model/weights.safetensors", "evaluations", "export")


@pytest.mark.parametrize("place", [*LINKS, *(pytest.param(p, marks=pytest.mark.reliability) for p in MORE_LINKS)])
def test_links_that_lead_outside_are_refused(tlx: Callable[..., Answer], ground: Path, place: str) -> None:
    for verb, words in VERBS.items():
        fresh(ground)
        link = ground / "run" / place
        shutil.rmtree(link) if link.is_dir() else link.unlink(missing_ok=True)
        link.symlink_to(ground / "outside" / ("secret.txt" if "." in place else ""))
        before = outside(ground)
        answer = tlx(*words)
        must_be_harmless(ground, answer, before, f"{verb}, {place}")
        assert answer.code == 2
        assert "link that leads out of it" in answer.err


@pytest.mark.parametrize("name", ["../../outside/secret.png", "/etc/passwd", "../mistakes.json", "", ".", 3, None])
def test_pictures_of_mistakes_stay_inside(tlx: Callable[..., Answer], ground: Path, name: Any) -> None:
    fresh(ground)
    (ground / "run" / "mistakes").mkdir(exist_ok=True)
    row = {"index": 0, "file": name, "image": "x", "label": "red", "predicted": "blue", "probability": 0.9}
    (ground / "run" / "mistakes" / "mistakes.json").write_text(json.dumps({"count": 1, "shown": [row]}))
    before = outside(ground)
    answer = tlx(*VERBS["report"])
    must_be_harmless(ground, answer, before, str(name))
    assert answer.code == 2


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the ways to everything that stands in plain data."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [*([way] if way else []), *(found for key, one in inner[:40] for found in places(one, (*way, key)))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [pytest.param(12, id="some"), pytest.param(400, marks=pytest.mark.reliability)])
def test_mutated_folders_are_harmless(tlx: Callable[..., Answer], ground: Path, count: int) -> None:
    rng, files = random.Random(0), [file for file in FILES if (ground / "kept" / file).exists()]
    wrong = []
    for number in range(count):
        fresh(ground)
        file, verb = rng.choice(files), rng.choice(list(VERBS))
        at = ground / "run" / file
        content = json.loads(at.read_text())
        way = rng.choice(list(places(content)))
        inner = content
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = value = rng.choice(VALUES)
        at.write_text(json.dumps(content))
        before = outside(ground)
        what = f"{number}: {verb}, {file} {way} = {value!r:.60}"
        try:
            must_be_harmless(ground, tlx(*VERBS[verb]), before, what)
        except AssertionError as error:
            wrong.append(str(error)[:1600])
    assert not wrong, ascii("\n\n".join(wrong)).replace("\\n", "\n")  # lone surrogates cannot be reported
