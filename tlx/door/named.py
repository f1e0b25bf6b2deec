"""Named: what Hydra's own part of a config names to be made; only what belongs there is, whoever wrote the config.

A name is compared as a whole: ``logging.StreamHandler`` belongs there, and ``logging.os.system`` begins like it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlx.errors import InputError

PLUGINS = ("launcher", "sweeper")
LOGGING = ("hydra_logging", "job_logging")
# That need nothing but settings; others open sockets, or import what these name.
LOGGERS = {
    *(f"logging.{name}" for name in ("StreamHandler", "FileHandler", "NullHandler", "Formatter", "Filter")),
    *(f"logging.handlers.{name}RotatingFileHandler" for name in ("", "Timed")),
    *("logging.handlers.WatchedFileHandler", "logging.handlers.MemoryHandler", "colorlog.ColoredFormatter"),
}
STREAMS = {"ext://sys.stdout", "ext://sys.stderr"}
CALLBACKS = {
    "tlx.door.sweep.SweepStart",
    *(f"hydra.experimental.callbacks.{name}" for name in ("LogJobReturnCallback", "PickleJobInfoCallback")),
}
SAMPLERS = re.compile(r"optuna\.samplers\.[A-Z]\w*")  # what Hydra's own plugin for Optuna has in its sweeper
LATER = re.compile(r"\$\{hydra[.:][\w.]+\}")  # texts that Hydra itself fills in when it starts a job


@contextmanager
def checked_names() -> Iterator[None]:
    """Look at where Hydra is to read configs, and at all that it composes, before it imports what stands there."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_repository import ConfigRepository

    compose, initialize = ConfigLoaderImpl.load_configuration, ConfigRepository.initialize_sources

    def checked(self: Any, *args: Any, **kwargs: Any) -> DictConfig:
        config = compose(self, *args, **kwargs)
        must_be_known(config)
        return config

    def searched(self: Any, config_search_path: Any) -> None:
        for place in config_search_path.get_path():
            _must_be_a_folder(place.provider, place.path)
        initialize(self, config_search_path)

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    ConfigRepository.initialize_sources = searched  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = compose  # type: ignore[method-assign]
        ConfigRepository.initialize_sources = initialize  # type: ignore[method-assign]


def _must_be_a_folder(provider: str, path: str) -> None:
    """Refuse configs in a package, which is imported to be read; Hydra's own and those that plugins bring are there."""
    key = "hydra.searchpath" if provider.startswith("hydra.searchpath") else "--config-path"
    if path.startswith("pkg://") and (provider == "main" or key == "hydra.searchpath"):
        raise InputError(f"{key}={path} names what would be imported", "give a folder: --config-dir FOLDER")


def must_be_known(config: DictConfig) -> None:
    """Refuse names of what Hydra would import, and what may stand for such a name only when it does.

    Raises:
        InputError: Says where the name stands.
    """
    for part in ("callbacks", *PLUGINS, *LOGGING):
        where = f"hydra.{part}"
        try:
            node = OmegaConf.select(config, where, throw_on_missing=False)
        except OmegaConfBaseException:  # the part as a whole is a broken interpolation
            raise InputError(f"{where} cannot be read", "leave it out") from None
        for place, key, value in _named(node, where):
            if not _belongs(part, place, key, value):
                what = f"{place}={value} names what would be run"
                raise InputError(what, "leave it out; a network of your own is named by backbone.target")


def _belongs(part: str, place: str, key: str, value: Any) -> bool:
    """Whether a value names what may stand at a place."""
    if part in LOGGING:
        return value in (STREAMS if key == "ext" else LOGGERS)
    if key != "_target_":  # arguments like others, but for an interpolation that is broken
        return not str(value).startswith("${")
    if part == "callbacks":
        return value in CALLBACKS or _is_callback(str(value))
    top = place == f"hydra.{part}._target_"
    return _is_plugin(part, str(value)) if top else bool(SAMPLERS.fullmatch(str(value)))


def _is_plugin(part: str, name: str) -> bool:
    """Whether Hydra has found a launcher or sweeper of that name, among its own or those that are installed."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.sweeper import Sweeper

    kind: Any = Launcher if part == "launcher" else Sweeper
    return name in {f"{found.__module__}.{found.__name__}" for found in Plugins.instance().discover(kind)}


def _is_callback(name: str) -> bool:
    """Whether a plugin that Hydra has imported by itself has a callback of that name."""
    from hydra.experimental.callback import Callback

    module, _, last = name.rpartition(".")
    found = vars(sys.modules[module]).get(last) if module.startswith("hydra_plugins.") and module in sys.modules else 0
    return isinstance(found, type) and issubclass(found, Callback) and found.__module__ == module


def _named(node: Any, where: str, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """Find what names something, its interpolations resolved, with where it stands and by what it is measured."""
    if OmegaConf.is_config(node):
        names: Any = list(node.keys()) if OmegaConf.is_dict(node) else range(len(node))
        for name in names:
            below = str(name) if OmegaConf.is_dict(node) else key
            yield from _named(_value(node, name), f"{where}.{name}", below)
    elif isinstance(node, Mapping):  # what a resolver returned
        for name, inner in node.items():
            yield from _named(inner, f"{where}.{name}", str(name))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for inner in node:
            yield from _named(inner, where, key)
    elif key in ("_target_", "()", "class") and node is not None:
        yield where, key, node
    elif isinstance(node, str) and node.strip().startswith(("ext://", "${")):
        yield where, "ext", node


def _value(node: Any, name: Any) -> Any:
    """Return what stands in a config; of an interpolation that only means something later, its text."""
    try:
        return None if OmegaConf.is_missing(node, name) else node[name]
    except OmegaConfBaseException:
        text = str(node._get_node(name)._value())
        return "" if LATER.sub("", text) != text and "${" not in LATER.sub("", text) else "${" + text
