"""Caches: a folder that tlx made is known again; what else a run's config names is not written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, Answer
from tlx import caches
from tlx.storage import read_json, write_json


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TLX_CACHE", str(tmp_path / "usual"))
    return str(tmp_path / "usual")


def test_a_made_folder_is_known_and_another_is_not(tmp_path: Path, here: str) -> None:
    (tmp_path / "papers").mkdir()
    caches.make(tmp_path / "bank")
    caches.make(tmp_path / "bank")
    assert caches.is_ours(str(tmp_path / "bank"), "features")
    assert caches.is_ours(f"{here}/features", "features")
    assert not caches.is_ours(f"{here}/features", "images")
    for given in (str(tmp_path / "papers"), str(tmp_path / "none"), "", 3, ["x"]):
        assert not caches.is_ours(given, "features")


def test_a_configs_folders_become_the_usual_ones_unless_tlx_made_them(tmp_path: Path, here: str) -> None:
    caches.make(tmp_path / "mine")
    (tmp_path / "hub" / "models--a--b").mkdir(parents=True)
    config: dict[str, Any] = {
        "features": {"kind": "bank", "dir": str(tmp_path)},
        "data": {"cache_dir": str(tmp_path / "mine"), "root": "elsewhere"},
        "trainer": {"cache_dir": None},
        "init": {"cache": str(tmp_path / "hub")},
        "seed": 3,
    }
    kept = caches.ours(config)
    assert kept["features"] == {"kind": "bank", "dir": f"{here}/features"}
    assert (kept["data"], kept["trainer"], kept["seed"]) == (config["data"], {"cache_dir": None}, 3)
    assert kept["init"] == config["init"]
    assert caches.ours({"init": {"cache": str(tmp_path)}})["init"] == {"cache": None}
    assert caches.ours({"features": "odd", "data": [1]}) == {"features": "odd", "data": [1]}


@pytest.mark.parametrize("mine", [False, True])
def test_a_run_folder_fills_no_folder_that_tlx_did_not_make(tlx: Any, tmp_path: Path, here: str, mine: bool) -> None:
    words = ("case=small_similar", *TINY, "callbacks.progress=false", "report=false", "hydra.run.dir=run")
    assert tlx(*words).code == 0
    config = read_json(tmp_path / "run" / "config.json")
    named = tmp_path / "named"
    named.mkdir()
    if mine:  # the control
        caches.make(named)
    config["features"]["dir"] = str(named)
    write_json(tmp_path / "run" / "config.json", config)
    for file in ("result.json", "checkpoints/decisions.json"):
        (tmp_path / "run" / file).unlink()
    answer: Answer = tlx("resume", "run=run")
    assert answer.code == 0, answer.err
    assert any(named.glob("*/*.safetensors")) == mine


def test_a_sweeps_folder_fills_none_either(tlx: Any, tmp_path: Path, here: str) -> None:
    words = ("-m", "case=small_similar", *TINY, "callbacks.progress=false", "report=false", "hydra.sweep.dir=sweep")
    named = tmp_path / "named"
    named.mkdir()
    assert tlx(*words, "seed=0,1").code == 0
    file = tmp_path / "sweep" / "multirun.yaml"
    file.write_text(file.read_text().replace("- seed=0,1", f"- seed=0,1,2\n    - features.dir={named}"))
    answer: Answer = tlx("resume", "run=sweep")
    assert answer.code == 0, answer.err
    assert not list(named.iterdir())
