"""Masks: put over the secrets of a command line wherever it is kept."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from tlx.secrecy import PERSON, SECRET, discreet_word, hidden
from tlx.storage import read_text, write_text


def mask(path: Path, secrets: Collection[str]) -> None:
    """Put masks into what Hydra wrote of the command line, before anything else happens."""
    files = [*(path / ".hydra").glob("*.yaml"), path.parent / "multirun.yaml"]
    for file in files if HydraConfig.get().mode == RunMode.MULTIRUN else files[:-1]:
        if not file.is_file():
            continue
        text = read_text(file)
        if not (secrets or SECRET.search(text) or PERSON.search(text)):
            continue
        written = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        if (masked := _without(written, secrets)) != written:
            write_text(file, OmegaConf.to_yaml(OmegaConf.create(masked)))


def _without(written: Any, secrets: Collection[str]) -> Any:
    """Return what Hydra wrote, overrides among it, with masks."""
    if isinstance(written, dict):
        return {key: _without(value, secrets) for key, value in hidden(written).items()}
    if isinstance(written, list):
        return [_without(value, secrets) for value in written]
    return discreet_word(written, secrets) if isinstance(written, str) else written


def told(command: Sequence[str], secrets: Collection[str]) -> str:
    """Return the command line as it is kept."""
    return shlex.join(["python", "-m", "tlx", *(discreet_word(word, secrets) for word in command)])
