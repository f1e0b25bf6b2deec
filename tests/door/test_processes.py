"""Several processes: each child runs this very job, and nothing of it stays for the next."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tlx.door.processes import RANKS, RUN_DIR, is_child, run_dir
from tlx.errors import InputError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*RANKS, RUN_DIR, "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", RANKS)
def test_a_rank_above_zero_is_a_child(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not is_child()
    for value, child in (("0", False), ("", False), ("1", True), ("15", True)):
        monkeypatch.setenv(name, value)
        assert is_child() is child


def test_a_child_takes_its_parents_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_dir("own") == Path("own")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["tlx"])
    with pytest.raises(InputError, match=r"hydra\.run\.dir=PATH"):
        run_dir("own")
    monkeypatch.setattr(sys, "argv", ["tlx", "hydra.run.dir=common"])
    assert run_dir("common") == Path("common")
    monkeypatch.setenv(RUN_DIR, "parents")
    assert run_dir("own") == Path("parents")


def test_a_child_repeats_the_job_and_not_the_sweep(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    (tmp_path / "c" / "case").mkdir(parents=True)
    (tmp_path / "c" / "case" / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - small_similar\n")
    seen: list[str] = []
    calls = training(lambda config, folder: seen.append(os.environ[RUN_DIR]))
    environment = dict(os.environ)
    assert tlx("train", "-m", "--config-dir", str(tmp_path / "c"), "case=mine", "seed=0,1").code == 0
    own = ["--config-dir", str(tmp_path / "c")]
    assert [call["argv"][1:] for call in calls] == [["train", *own, "case=mine", f"seed={k}"] for k in (0, 1)]
    assert seen == [str(call["folder"].path) for call in calls]
    assert RUN_DIR not in os.environ
    assert {k: v for k, v in os.environ.items() if k != "TLX_UNIQUE"} == {
        k: v for k, v in environment.items() if k != "TLX_UNIQUE"
    }
    calls.clear()
    assert tlx("case=small_similar", "data=folder", "data.root=/a b").code == 0
    assert calls[0]["argv"][1:] == ["train", "case=small_similar", "data=folder", "data.root='/a b'"]


def test_a_failed_job_leaves_nothing_either(tlx: Callable, training: Callable) -> None:
    def job(config: object, folder: object) -> None:
        os.environ["LOCAL_RANK"] = "0"  # as Lightning does
        raise ZeroDivisionError

    training(job)
    assert tlx("case=small_similar").code == 1
    assert RUN_DIR not in os.environ
    assert "LOCAL_RANK" not in os.environ


def test_a_child_neither_prints_nor_writes(
    tlx: Callable, training: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(config: object, folder: object) -> None:
        raise InputError("what", "mend")

    training(job)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(RUN_DIR, str(tmp_path / "parents"))
    (tmp_path / "parents").mkdir()
    answer = tlx("case=small_similar")
    assert (answer.code, answer.err) == (2, "")
    assert not (tmp_path / "parents" / "failure.json").exists()
    assert not (tmp_path / "parents" / "config.json").exists()
