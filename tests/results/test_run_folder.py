"""The run folder: made once, opened again, and how to go on with it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tlx.errors import InputError, MachineError
from tlx.results.run_folder import RunFolder, shown


def test_a_folder_is_made_with_its_config(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "deep" / "run", {"case": "x", "seed": 3})
    assert folder.checkpoints.is_dir()
    assert json.loads(folder.config.read_text()) == {"case": "x", "seed": 3}
    assert RunFolder.open(str(tmp_path / "deep" / "run")).read_config() == {"case": "x", "seed": 3}
    assert sorted(p.name for p in folder.path.iterdir()) == ["checkpoints", "config.json"]


def test_an_existing_run_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunFolder.create(tmp_path / "run", {"seed": 1})
    with pytest.raises(InputError, match="already holds a run; resume it: python -m tlx resume run=run"):
        RunFolder.create(tmp_path / "run", {"seed": 2})
    assert RunFolder.open("run").read_config() == {"seed": 1}
    assert RunFolder.create(tmp_path / "run", {"seed": 2}, fresh=False).read_config() == {"seed": 2}


def test_a_folder_that_holds_something_else_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert RunFolder.create(tmp_path, {}).config.is_file()


@pytest.mark.parametrize("name", ["plain", "with blank", "a'b", 'q"q', "$HOME", "semi;colon", "ünï", "*"])
def test_the_resume_command_survives_a_shell(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = RunFolder(tmp_path / name), RunFolder(tmp_path.parent / name)
    assert shlex.split(inside.resume_command) == ["python", "-m", "tlx", "resume", f"run={name}"]
    assert shlex.split(outside.resume_command)[-1] == f"run={tmp_path.parent / name}"
    assert shown(tmp_path) == "."


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    for name in ("nowhere", ""):
        with pytest.raises(InputError, match="holds no run; give a folder that `train` made"):
            RunFolder.open(str(tmp_path / name))


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\x00"])
def test_a_damaged_config_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        RunFolder.open(str(tmp_path)).read_config()


def test_a_folder_that_cannot_be_made_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(MachineError, match=f"cannot write {path}"):
            RunFolder.create(path, {})


def test_a_failure_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, {})
    folder.fail("the image x is gone", 2)
    assert json.loads(folder.failure.read_text()) == {"reason": "the image x is gone", "exit_code": 2}


def test_two_processes_never_work_in_one_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    left = folder.checkpoints / ".last.ckpt.01234567.tmp"
    code = f"""
import pathlib, sys, tlx.results.run_folder as r
with r.RunFolder(pathlib.Path({str(folder.path)!r})).alone():
    print("held", flush=True)
    sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "held\n"
        left.touch()
        with pytest.raises(InputError, match="another process works in"), folder.alone():
            pytest.fail("both work in it")
        assert left.exists()  # it may be the other one's
        other.kill()  # the system lets go of what a killed process held
    with folder.alone():
        assert not left.exists()
    with folder.alone():
        pass
