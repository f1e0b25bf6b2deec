"""Verdict: from whatever happened in a job to an exit code and a line."""

from __future__ import annotations

import errno
import re

from tlx import errors

# How torch, its allocators and the system say it.
NO_MEMORY = re.compile(r"out of memory|(?:can't|cannot) allocate memory|not enough memory|ALLOC_FAILED", re.IGNORECASE)
LOST_WORKER = re.compile(r"DataLoader worker .*(?:killed by signal|exited unexpectedly)", re.DOTALL)


def judge(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an exception, and its message."""
    if isinstance(error, errors.TlxError):
        return error.exit_code, _last_line(error)
    lightnings = isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt)
    if isinstance(error, KeyboardInterrupt) or lightnings:  # its trainer turns the one into the other
        return errors.EXIT_SIGINT, "interrupted; the last saved state stands"
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else errors.EXIT_BUG
        return code or errors.EXIT_BUG, f"something called sys.exit({error.code!r})"
    if "shared memory" in str(error).lower():
        mend = "give it more (of a container: --shm-size=8g), or read without worker processes: data.workers=0"
        return errors.EXIT_MACHINE, f"shared memory is full; {mend}"
    if LOST_WORKER.search(str(error)):
        mend = "lower data.batch_size or data.workers; data.workers=0 reads without worker processes"
        return errors.EXIT_MACHINE, f"a process that reads images was killed, often for lack of memory; {mend}"
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return errors.EXIT_MACHINE, "out of memory; lower data.batch_size, or use trainer.precision=bf16-mixed"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
        return errors.EXIT_MACHINE, f"{error.strerror}: {error.filename}; free space or choose hydra.run.dir=PATH"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return errors.EXIT_INPUT, f"{error.strerror}: {str(error.filename)[:100]}...; give a path that the system takes"
    return errors.EXIT_BUG, f"{type(error).__name__}: {_last_line(error)}"


def _last_line(error: BaseException) -> str:
    """Take the message; one that a data worker wrapped in its own traceback stands on the last line."""
    message = str(error).strip() or type(error).__name__
    if isinstance(error, errors.TlxError) and not message.startswith("Caught "):
        return message  # of several lines, where it draws what it expects
    lines = message.splitlines()
    return lines[-1].removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
