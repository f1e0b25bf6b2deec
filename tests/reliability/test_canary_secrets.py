"""R11: a secret from the environment or a config file stands in no file of a run, and not on the terminal."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Answer, Scorecard

CANARY = "CANARYe2fc714c"
RUN = ("case=small_similar", *TINY, "data=digits", "data.per_class=4", "callbacks.progress=false")
KEYS = ("token", "password", "api_key")
GIVEN = ("environment", "typed", "file")


def holding(folder: Path) -> list[str]:
    """List the files below a folder that hold the canary, members of zips among them, or are named by it."""
    found = []
    for file in folder.rglob("*"):
        if CANARY in file.name:
            found.append(str(file))
        if not file.is_file():
            continue
        if CANARY.encode() in file.read_bytes():
            found.append(str(file))
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                found += [f"{file}: {name}" for name in archive.namelist() if CANARY.encode() in archive.read(name)]
    return found


def test_the_search_finds_it_in_zips(tmp_path: Path) -> None:
    """The negative control."""
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", "x" * 100 + CANARY)
    assert holding(tmp_path) == [f"{tmp_path / 'x.ckpt'}: data.pkl"]


def test_a_finished_run_and_a_sweep_keep_no_address_of_the_environment(
    tlx: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard
) -> None:
    """The folder of the bank is a path that nobody is to read."""
    monkeypatch.setenv("TLX_CANARY", str(tmp_path.parent / f"{CANARY}_bank"))
    bank = "features.dir=${oc.env:TLX_CANARY}"
    single = tlx(*RUN, bank, "report=true")
    assert single.code == 0, single.err
    sweep = tlx("-m", *RUN, bank, "report=true", "seed=0,1")
    assert sweep.code == 0, sweep.err
    found = holding(tmp_path)
    told = [answer for answer in (single, sweep) if CANARY in answer.out + answer.err]
    scorecard("R11", {"runs with secrets": 3, "leaked": len(found) + len(told)})
    assert not found
    assert not told


@pytest.mark.parametrize(
    ("key", "given"),
    [
        pytest.param(key, given, marks=[] if index == place else [pytest.mark.reliability])
        for index, key in enumerate(KEYS)
        for place, given in enumerate(GIVEN)
    ],
)
def test_a_failed_run_and_a_sweep_keep_no_secret(
    tlx: Callable[..., Answer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scorecard: Scorecard,
    key: str,
    given: str,
) -> None:
    """Timm's networks take no such argument: the run fails, and its reason holds what it was called with."""
    monkeypatch.setenv("TLX_CANARY", CANARY)
    words, case = [f"++backbone.kwargs.{key}=${{oc.env:TLX_CANARY}}"], ()
    if given == "typed":
        words = [f"++backbone.kwargs.{key}={CANARY}"]
    if given == "file":
        (tmp_path.parent / f"{tmp_path.name}_conf" / "case").mkdir(parents=True)
        file = tmp_path.parent / f"{tmp_path.name}_conf" / "case" / "own.yaml"
        file.write_text(f"# @package _global_\nbackbone:\n  kwargs:\n    {key}: {CANARY}\n")
        words, case = [], ("--config-dir", str(file.parents[1]), "case=own")
    answers = [tlx(*RUN, *words, *case), tlx("-m", *RUN, *words, *case, "seed=0,1")]
    found, told = holding(tmp_path), [one for one in answers if CANARY in one.out + one.err]
    scorecard("R11", {"runs with secrets": 3, "leaked": len(found) + len(told)})
    assert [one.code != 0 for one in answers] == [True, True]
    assert not found
    assert not told, told
