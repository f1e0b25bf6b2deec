"""From a plain mapping to the typed config: unknown keys, wrong types and values out of range are named here."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlx.config.fields import REQUIRED
from tlx.errors import InputError, nearest

T = TypeVar("T")


def check(plain: Mapping[str, Any], cls: type[T], where: str = "") -> T:
    """Build ``cls`` from ``plain``, whose interpolations are resolved.

    Raises:
        InputError: A key that ``cls`` does not have, a required value that is missing, a wrong type, a value out of
            range; the message names the full key, the value and the mend.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in plain:
        if key not in fields:
            raise InputError(f"unknown key {join(where, str(key))!r}", nearest(str(key), fields))
    values: dict[str, Any] = {}
    for name, field in fields.items():
        key = join(where, name)
        if name in plain:
            value = plain[name]
        elif field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            raise InputError(f"the group {key!r} is missing", f"choose an option: {key}=...")
        values[name] = _value(value, hints[name], field.metadata, key)
    return cls(**values)


def members(hint: Any) -> tuple[type, ...]:
    """Return the dataclasses that a field's type hint admits."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return tuple(o for o in options if dataclasses.is_dataclass(o) and isinstance(o, type))


def path_keys(cls: type) -> Iterator[str]:
    """Yield the dotted keys that hold paths, over every kind of every group."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.metadata.get("path"):
            yield field.name
        for member in members(hints[field.name]):
            yield from (f"{field.name}.{key}" for key in path_keys(member))


def several_keys(cls: type) -> Iterator[str]:
    """Yield the keys of a root that hold a list of paths."""
    yield from (field.name for field in dataclasses.fields(cls) if field.metadata.get("several"))


def open_keys(cls: type) -> Iterator[str]:
    """Yield the dotted keys that take any value, over every kind of every group: mappings with keys of their own."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if hints[field.name] is Any:
            yield field.name
        for member in members(hints[field.name]):
            yield from (f"{field.name}.{key}" for key in open_keys(member))


def _value(value: Any, hint: Any, limits: Mapping[str, Any], key: str) -> Any:
    if isinstance(value, str) and value == REQUIRED:
        raise InputError(f"{key} is missing", f"give it: {key}=...")
    if options := members(hint):
        return _group(value, hint, options, key)
    if isinstance(value, str) and value in limits.get("words", ()):
        return value
    value = _typed(value, hint, key, limits.get("words", ()))
    choices = limits.get("choices")
    if choices and value not in choices:
        raise InputError(f"{key}={value} is not an option", nearest(str(value), choices))
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, float) and not math.isfinite(item):
            raise InputError(f"{key}={value} is not finite", "give a finite number")
    _in_range(value, limits, key)
    return value


def _group(value: Any, hint: Any, options: tuple[type, ...], key: str) -> Any:
    if dataclasses.is_dataclass(value):
        return value
    if value is None and type(None) in typing.get_args(hint):
        return None
    if not isinstance(value, Mapping):
        raise InputError(f"{key}={value} is not a group", f"choose one of its options: {key}=...")
    kinds = {getattr(option, "kind", None): option for option in options}
    if None in kinds:  # a nested part without kinds, such as callbacks.checkpoint
        return check(value, options[0], key)
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{key}.kind={kind} is not an option", nearest(str(kind), map(str, kinds)))
    return check(value, kinds[kind], key)


def _typed(value: Any, hint: Any, key: str, words: tuple[str, ...] = ()) -> Any:
    """Let OmegaConf convert, by its rules: "1e-3" becomes a float, "abc" does not, 1.5 is no int."""
    if hint is Any:
        return value
    try:
        node = OmegaConf.structured(_holder(hint)(value=REQUIRED))
        node.value = value
        typed = node.value
    except (OmegaConfBaseException, OverflowError):  # 10**400 is no float
        takes = " or ".join((_spoken(hint), *words))
        raise InputError(f"{key}={value!r} has the wrong type", f"it takes {takes}") from None
    return OmegaConf.to_container(typed) if OmegaConf.is_config(typed) else typed


@cache
def _holder(hint: Any) -> type:
    return dataclasses.make_dataclass("Holder", [("value", hint)])


def _spoken(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if hint in names:
        return names[hint]
    if typing.get_origin(hint) is list:
        return f"a list, each {_spoken(typing.get_args(hint)[0])}"
    return " or ".join(_spoken(option) for option in typing.get_args(hint))


def _in_range(value: Any, limits: Mapping[str, Any], key: str) -> None:
    low, high, above = limits.get("low"), limits.get("high"), limits.get("above")
    listed = isinstance(value, list)
    if listed and len(value) < limits.get("least", 0):
        raise InputError(f"{key}={value} is too short", f"give at least {limits['least']}")
    for item in value if listed else [value]:
        if item is None or isinstance(item, str) or (low is None and high is None and above is None):
            continue
        fits = (low is None or item >= low) and (high is None or item <= high) and (above is None or item > above)
        if not fits:
            bounds = (("at least", low), ("above", above), ("at most", high))
            wanted = " and ".join(f"{word} {bound:.10g}" for word, bound in bounds if bound is not None)
            raise InputError(f"{key}={value} is out of range", f"{'each' if listed else 'it'} must be {wanted}")


def join(where: str, name: str) -> str:
    """Join a dotted key."""
    return f"{where}.{name}" if where else name
