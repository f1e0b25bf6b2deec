"""Several processes: which one this is, and how Lightning starts the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlx.errors import InputError

RANKS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
RUN_DIR = "TLX_RUN_DIR"  # how a child learns its parent's folder


def is_child() -> bool:
    """Whether another process of the same run is the one that prints and writes."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in RANKS)


def run_dir(own: str) -> Path:
    """Return the run folder: the parent's for a child, else this process's own.

    Raises:
        InputError: Processes started from outside, which would each name a folder of their own.
    """
    given = os.environ.get(RUN_DIR)
    started_outside = int(os.environ.get("WORLD_SIZE", "1")) > 1 and given is None
    if started_outside and not any(word.startswith("hydra.run.dir=") for word in sys.argv):
        raise InputError("several processes were started from outside", "name their common folder: hydra.run.dir=PATH")
    return Path(given or own)


@contextmanager
def children_run(verb: str, overrides: list[str], folder: Path) -> Iterator[None]:
    """Let the processes that Lightning starts run this very job, and leave no trace of them for the next.

    Lightning repeats ``sys.argv``: with the verb taken off a child would fail, with ``-m`` it would repeat the sweep.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict, read_write

    argv, environment = list(sys.argv), dict(os.environ)
    sys.argv = [sys.argv[0], verb, *_own_configs(), *overrides]
    os.environ[RUN_DIR] = str(folder)
    config: Any = HydraConfig.instance().cfg
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.run.dir = str(folder)
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        _leave_group()


def _own_configs() -> list[str]:
    """Return the ``--config-dir`` that this command line gave, so that a child finds the user's own options."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return [word for s in sources if s.provider == "command-line" for word in ("--config-dir", s.path)]


def _leave_group() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
