"""Named: what Hydra's own part of a config names to be made; only what belongs there is, whoever wrote the config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tlx.errors import InputError

MADE = ("callbacks", "launcher", "sweeper")
LOGGING = ("hydra_logging", "job_logging")
KNOWN = {
    "_target_": ("tlx.door.sweep.", "hydra._internal.core_plugins.", "hydra_plugins."),
    "class": ("logging.", "colorlog."),
    "()": ("logging.", "colorlog."),
    "ext": ("sys.stdout", "sys.stderr"),
}


@contextmanager
def checked_names() -> Iterator[None]:
    """Look at every config that Hydra composes, before it makes anything that stands in it."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    compose = ConfigLoaderImpl.load_configuration

    def checked(self: Any, *args: Any, **kwargs: Any) -> DictConfig:
        config = compose(self, *args, **kwargs)
        must_be_known(config)
        return config

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = compose  # type: ignore[method-assign]


def must_be_known(config: DictConfig) -> None:
    """Refuse names of what Hydra would import, and parts that would only be put in place when it does.

    Raises:
        InputError: Says where the name stands.
    """
    for part in (*MADE, *LOGGING):
        node = OmegaConf.select(config, f"hydra.{part}", throw_on_missing=False)
        plain = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
        for where, key, value in _named(plain, f"hydra.{part}"):
            if not value.startswith(KNOWN[key]):
                what = f"{where}={value} names what would be run"
                raise InputError(what, "leave it out; a network of your own is named by backbone.target")


def _named(value: Any, where: str, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Find what names something, with where it stands and which key of ``KNOWN`` it is measured by."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _named(inner, f"{where}.{name}", str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, where)
    elif isinstance(value, str):
        if key in KNOWN and key != "ext":
            yield where, key, value
        elif re.fullmatch(r"\s*\$\{.*\}\s*", value, re.DOTALL):  # what it stands for may hold such a key
            yield where, "_target_", value
        elif value.startswith("ext://"):
            yield where, "ext", value.removeprefix("ext://")
    elif key in ("_target_", "()") and value is not None:
        yield where, key, str(value)
