"""Knots: small files that stand for huge ones, refused before they are unfolded: aliases, interpolations of others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml
from omegaconf import OmegaConf, _utils

from tlx.errors import InputError

NODES = 100_000  # values that a YAML file may stand for
CHAINED = 16  # interpolations of what is itself interpolated: each may multiply what the others make
LETTERS = 1_000_000  # that interpolations of plain values may add up to: each may name the same long one
PLAIN = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")  # which names a key from the root
HARMLESS = re.compile(r"\$\{(oc\.env|now|hydra):[^${}]*\}")


class KnotError(yaml.error.MarkedYAMLError):
    """A YAML file that stands for too much."""


def untied(loader: type[yaml.SafeLoader]) -> type[yaml.SafeLoader]:
    """Derive a loader that refuses a file whose aliases, written out, make more than ``NODES`` values, or a circle."""

    class Untied(loader):  # type: ignore[misc, valid-type]
        def get_single_node(self) -> yaml.Node | None:
            node: yaml.Node | None = super().get_single_node()
            if node is not None and _written_out(node, {}) > NODES:
                what = f"its aliases stand for more than {NODES:,} values, or for themselves"
                raise KnotError(problem=what, problem_mark=node.start_mark)
            return node

    return Untied


def _written_out(node: yaml.Node, known: dict[yaml.Node, float]) -> float:
    """Count the values of a node, each alias as often as it is used; a circle is without end."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if node not in known:
        known[node] = float("inf")  # until it is counted: who meets it before then is a part of it
        inner = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[node] = 1 + sum(_written_out(part, known) for part in inner)
    return known[node]


@contextmanager
def untying() -> Iterator[None]:
    """Let OmegaConf, and so Hydra, read YAML files by such a loader."""
    theirs = _utils.get_yaml_loader
    _utils.get_yaml_loader = lambda: untied(theirs())
    try:
        yield
    finally:
        _utils.get_yaml_loader = theirs


def read_yaml(text: str) -> Any:
    """Read YAML of plain types.

    Raises:
        InputError: It is none, or stands for too much.
    """
    try:
        return yaml.load(text, Loader=untied(yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise InputError(f"this is no YAML: {reason}", "mend the file") from None


def resolved(plain: Mapping[str, Any]) -> Any:
    """Return a plain config, its interpolations resolved.

    Raises:
        InputError: Too many of them are of each other.
    """
    must_be_short(plain)
    return OmegaConf.to_container(OmegaConf.create(dict(plain)), resolve=True)


def must_be_short(plain: Mapping[str, Any]) -> None:
    """Refuse a config whose interpolations, resolved, may make a huge text of a short one.

    Raises:
        InputError: More than ``CHAINED`` of them are not of a plain value, or the others make over ``LETTERS``.
    """
    chained = letters = 0
    for text in _texts(plain):
        rest = HARMLESS.sub("", text)
        named = [_letters(plain, found[1]) for found in PLAIN.finditer(rest)]
        chained += rest.count("${") - sum(count is not None for count in named)
        letters += sum(count or 0 for count in named)
    if chained > CHAINED:
        what = f"the config has {chained} interpolations of what is itself interpolated, or of whole groups"
        raise InputError(what, f"write values out; at most {CHAINED} of them are resolved")
    if letters > LETTERS:
        raise InputError(f"the interpolations of the config make {letters:,} letters", f"at most {LETTERS:,} are made")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _letters(config: Any, key: str) -> int | None:
    """Return how long a plain value is as a text; None: there is no such value, or it is interpolated itself."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    plain = isinstance(config, str | int | float) and "${" not in str(config)
    return len(str(config)) if plain else None
