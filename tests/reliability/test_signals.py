"""R3: signals to the main process or to all of them, in training and in validation, with and without workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Scorecard
from tests.interrupting import RUN, Command
from tests.reliability.staged import start, wait_for
from tlx.results.run_folder import RunFolder

PROMPT_S = 10.0  # within which a run ends; a step takes milliseconds, a save some hundredths of a second
HOOKS = {"training": ("on_train_batch_end", 6), "validation": ("on_validation_batch_end", 8)}
ALL = [
    (number, group, workers, where)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    for group in (False, True)
    for workers in (0, 2)
    for where in HOOKS
]
SAMPLE = (signal.SIGTERM, True, 2, "training")


def gone(group: int) -> bool:
    """Whether no process of a group is left."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("number", "group", "workers", "where"),
    [SAMPLE, *(pytest.param(*one, marks=pytest.mark.reliability) for one in ALL)],
)
def test_a_signal_ends_a_run_that_goes_on(
    tlx: Command, tmp_path: Path, scorecard: Scorecard, number: signal.Signals, group: bool, workers: int, where: str
) -> None:
    hook, count = HOOKS[where]
    words = (*RUN, f"data.workers={workers}", "report=false", "hydra.run.dir=run")
    process = start(hook, count, tmp_path, *words, start_new_session=True)
    wait_for(tmp_path / "mark", process)
    sent = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, number)
    (tmp_path / "go").touch()
    _, told = process.communicate(timeout=60)
    took, orphans = time.monotonic() - sent, int(not gone(process.pid))
    code = tlx("resume", "run=run").code
    scorecard("R3", {"signals": 1, "runs that did not go on": int(code != 0), "orphans": orphans})
    assert took < PROMPT_S
    assert process.returncode == 128 + number, told
    assert told.strip().splitlines()[-1].endswith("python -m tlx resume run=run")
    assert "Traceback" not in told
    assert (orphans, code) == (0, 0)
    assert RunFolder(tmp_path / "run").result.exists()


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    process = start("on_train_batch_end", 6, tmp_path, *RUN, "hydra.run.dir=run", start_new_session=True)
    wait_for(tmp_path / "mark", process)  # and it would wait there for two minutes
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PROMPT_S)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert gone(process.pid)
