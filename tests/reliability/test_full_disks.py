"""R4: a disk that is really full, a folder that is really read-only, and hardly any shared memory.

In a mount namespace of their own, which takes an administrator: permissions do not bind one, a mount does. Who is none
has the injected faults of tests/test_storage.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Scorecard
from tests.interrupting import RUN
from tests.reliability.staged import PATIENCE_S

HOME = Path(__file__).parents[2]
WORDS = (*RUN, "callbacks.checkpoint.every_steps=1", "report=false")


def mounts() -> bool:
    """Whether this user may mount a filesystem in a namespace of its own."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not mounts(), reason="mounting takes an administrator; see tests/test_storage.py")


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own; ``tlx`` and ``staged`` are commands in it."""
    before = f"""
set -u
tlx() {{ {sys.executable} -m tlx "$@"; }}
staged() {{ {sys.executable} -m tests.reliability.staged "$@"; }}
marked() {{ for _ in $(seq {int(10 * PATIENCE_S)}); do [ -e "$1" ] && return; sleep 0.1; done; exit 99; }}
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    command, pipes = (
        ["unshare", "-m", "bash", "-c", before + text],
        {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
    )
    return subprocess.run(command, cwd=folder, env=environment, timeout=300, check=False, text=True, **pipes)


def codes(done: subprocess.CompletedProcess[str]) -> list[int]:
    return [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("code ")]


def quoted(*words: str) -> str:
    return " ".join(f"'{word}'" for word in words)


@needs_mounts
def test_a_disk_that_is_too_small_is_told_before_the_training(tmp_path: Path, scorecard: Scorecard) -> None:
    (tmp_path / "disk").mkdir()
    done = script(tmp_path, f"mount -t tmpfs -o size=1M none disk; tlx {quoted(*WORDS, 'hydra.run.dir=disk/run')}")
    scorecard("R4", {"disks too small, told before": 1})
    assert done.returncode == 3, done.stderr
    assert "has room for" in done.stderr
    assert "epoch" not in done.stdout


@needs_mounts
@pytest.mark.reliability
def test_a_disk_that_fills_up_keeps_the_old_state_and_the_run_goes_on(tmp_path: Path, scorecard: Scorecard) -> None:
    (tmp_path / "disk").mkdir()
    done = script(
        tmp_path,
        f"""
mount -t tmpfs -o size=60M none disk
staged on_train_batch_end 6 mark go {quoted(*WORDS, "hydra.run.dir=disk/run")} > out 2> err &
marked mark
dd if=/dev/zero of=disk/filler bs=4k > /dev/null 2>&1
touch go; wait $!; echo code $?
ls disk/run
rm disk/filler
tlx resume run=disk/run > again 2>&1; echo code $?
tlx {quoted(*WORDS, "hydra.run.dir=whole")} > /dev/null
cmp disk/run/model/weights.safetensors whole/model/weights.safetensors; echo code $?
""",
    )
    told = (tmp_path / "err").read_text()
    scorecard("R4", {"disks filled up under way, resumed": 1})
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 3", "code 0", "code 0"], (
        told
    )
    assert "No space left on device" in told
    assert "free some space" in told
    assert "Traceback" not in told
    assert "result.json" not in done.stdout


@needs_mounts
@pytest.mark.parametrize("when", ["before", pytest.param("under way", marks=pytest.mark.reliability)])
def test_a_read_only_folder_is_no_success(tmp_path: Path, scorecard: Scorecard, when: str) -> None:
    (tmp_path / "disk").mkdir()
    words = quoted(*WORDS, "hydra.run.dir=disk/run")
    if when == "before":
        text = f"mount -t tmpfs -o ro none disk; tlx {words} > out 2> err; echo code $?"
    else:
        text = f"""
mount -t tmpfs none disk
staged on_train_batch_end 6 mark go {words} > out 2> err &
marked mark; mount --bind disk disk && mount -o remount,bind,ro disk || exit 98  # files that are open stay open
touch go; wait $!; echo code $?
ls disk/run; umount disk
tlx resume run=disk/run > again 2>&1; echo code $?
"""
    done = script(tmp_path, text)
    told = (tmp_path / "err").read_text()
    scorecard("R4", {"read-only mounts, no success without a file": 1})
    assert codes(done) == ([3] if when == "before" else [3, 0]), told
    assert "Read-only file system" in told
    assert "Traceback" not in told
    assert "result.json" not in done.stdout


@needs_mounts
@pytest.mark.reliability
def test_hardly_any_shared_memory_is_enough(tmp_path: Path, scorecard: Scorecard) -> None:
    done = script(
        tmp_path,
        f"mount -t tmpfs -o size=64k none /dev/shm; tlx {quoted(*WORDS, 'data.workers=2', 'hydra.run.dir=run')}",
    )
    scorecard("R4", {"tiny shared memories": 1})
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "result.json").is_file()
