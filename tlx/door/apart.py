"""Apart: Hydra used from a program that may use a Hydra of its own, leaving no trace there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

SET = ("TLX_UNIQUE", "HYDRA_FULL_ERROR")  # what composing leaves in the environment


@contextmanager
def apart() -> Iterator[None]:
    """Put the program's own Hydra aside for the block, and everything back behind it."""
    state, before = Singleton.get_state(), {name: os.environ.get(name) for name in SET}
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        Singleton.set_state(state)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
