"""Run a command line and hold it at a chosen moment of its training: ``python -m tests.reliability.staged``.

Words: HOOK NUMBER MARK GO WORDS...: when the hook of ``Checkpoints`` is called for the NUMBERth time, the file MARK is
made, and the program waits until GO exists; a signal reaches it there as anywhere else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0


def hold(hook: str, number: int, mark: Path, go: Path) -> None:
    """Wait in a hook."""
    from tlx.learner.checkpoints import Checkpoints

    original, seen = getattr(Checkpoints, hook), 0

    def waiting(self: Checkpoints, *args: Any, **kwargs: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            mark.touch()
            wait_for(go)
        original(self, *args, **kwargs)

    setattr(Checkpoints, hook, waiting)


def wait_for(file: Path, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a file exists; ``process`` is to live until then."""
    end = time.monotonic() + PATIENCE_S
    while not file.exists():
        if time.monotonic() > end or (process is not None and process.poll() is not None):
            told = process.communicate() if process is not None else ""
            raise TimeoutError(f"{file.name} has not come: {told}")
        time.sleep(0.02)


def start(hook: str, number: int, folder: Path, *words: str, **how: Any) -> subprocess.Popen[str]:
    """Start a command line in ``folder`` that holds there; its marks are ``mark`` and ``go`` in that folder."""
    marks = [str(folder / name) for name in ("mark", "go")]
    command = [sys.executable, "-m", "tests.reliability.staged", hook, str(number), *marks, *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    home = str(Path(__file__).parents[2])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": home}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes, **how)


if __name__ == "__main__":
    from tlx.__main__ import main

    hook, number, mark, go, *words = sys.argv[1:]
    sys.argv = ["tlx", *words]
    hold(hook, int(number), Path(mark), Path(go))
    main()
