"""From a plain mapping to the typed config: whatever stands in it, the answer is a config or an InputError."""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tlx.__main__ import conf_folder
from tlx.config.check import check, join, members, open_keys, path_keys
from tlx.config.fields import choice, number, numbers, path
from tlx.config.roots import ROOTS, TrainConfig
from tlx.errors import InputError


@dataclass
class Round:
    kind: str = "round"
    radius: float = number(1.0, above=0)


@dataclass
class Square:
    kind: str = "square"
    side: int = number(1, low=1, high=9)
    colour: str = choice("red", "red", "green")
    corners: list[float] = numbers(0.0, 1.0)
    rows: list[int] = numbers(2, low=1, high=9, least=1)
    file: str = path(required=True)
    note: str | None = None
    deep: Any = None
    on: bool = False
    place: int | str = 0


@dataclass
class Inner:
    count: int = number(0, low=0)


@dataclass
class Outer:
    shape: Round | Square
    inner: Inner = field(default_factory=Inner)
    other: Round | None = None


def square(**values: Any) -> Square:
    shape = check({"shape": {"kind": "square", "file": "f", **values}}, Outer).shape
    assert isinstance(shape, Square)
    return shape


def complaint(**values: Any) -> str:
    with pytest.raises(InputError) as error:
        square(**values)
    return str(error.value)


def test_defaults_and_conversions() -> None:
    assert square() == Square(file="f")
    assert square(corners=[1, "2.5"]).corners == [1.0, 2.5]
    assert square(corners=[]).corners == []
    assert square(rows=[9, "1"]).rows == [9, 1]
    assert check({"shape": {"kind": "round", "radius": "1e-3"}}, Outer).shape == Round(radius=1e-3)
    assert square(deep={"any": [1, {"x": None}]}).deep == {"any": [1, {"x": None}]}
    assert (square(place=3).place, square(place="layer2").place) == (3, "layer2")
    assert type(square(corners=[1.0]).corners) is list  # never a ListConfig below the door


def test_a_default_list_is_not_shared() -> None:
    square().corners.append(9.0)
    assert square().corners == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sid": 3}, ["unknown key 'shape.sid'", "did you mean 'side'?", "colour"]),
        ({"side": 0}, ["shape.side=0 is out of range", "at least 1 and at most 9"]),
        ({"side": 10}, ["out of range"]),
        ({"side": 1.5}, ["shape.side=1.5 has the wrong type", "a whole number"]),
        ({"side": "abc"}, ["shape.side='abc'", "a whole number"]),
        ({"side": None}, ["wrong type"]),
        ({"side": True}, ["shape.side=True", "a whole number"]),
        ({"colour": "gren"}, ["shape.colour=gren is not an option", "did you mean 'green'?", "red"]),
        ({"corners": [0.0, "x"]}, ["shape.corners", "a list, each a number"]),
        ({"corners": 3.0}, ["a list"]),
        ({"rows": []}, ["shape.rows=[] is too short; give at least 1"]),
        ({"rows": [3, 0]}, ["shape.rows=[3, 0] is out of range; each must be at least 1 and at most 9"]),
        ({"rows": [10, 3]}, ["out of range"]),
        ({"rows": [1.5]}, ["a list, each a whole number"]),
        ({"rows": [None]}, ["shape.rows=[None]"]),
        ({"corners": [0.0, math.nan]}, ["not finite"]),
        ({"corners": [math.inf]}, ["not finite"]),
        ({"file": "???"}, ["shape.file is missing", "give it: shape.file=..."]),
        ({"file": None}, ["wrong type", "text"]),
        ({"note": [1]}, ["text or null"]),
        ({"on": "perhaps"}, ["true or false"]),
        ({"kind": "sqare"}, ["shape.kind=sqare is not an option", "did you mean 'square'?", "round"]),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], words: list[str]) -> None:
    message = complaint(**values)
    for word in words:
        assert word in message
    assert "\n" not in message


@pytest.mark.parametrize("radius", [0, -1, math.nan, math.inf, -math.inf])
def test_above_is_exclusive_and_finite(radius: float) -> None:
    with pytest.raises(InputError, match=r"shape\.radius"):
        check({"shape": {"kind": "round", "radius": radius}}, Outer)


def test_groups() -> None:
    with pytest.raises(InputError, match="the group 'shape' is missing; choose an option"):
        check({}, Outer)
    with pytest.raises(InputError, match="shape=5 is not a group"):
        check({"shape": 5}, Outer)
    with pytest.raises(InputError, match="shape=None is not a group"):
        check({"shape": None}, Outer)
    with pytest.raises(InputError, match=r"inner\.count=-1 is out of range; it must be at least 0"):
        check({"shape": {"kind": "round"}, "inner": {"count": -1}}, Outer)
    with pytest.raises(InputError, match=r"unknown key 'inner\.cuont'; did you mean 'count'"):
        check({"shape": {"kind": "round"}, "inner": {"cuont": 1}}, Outer)
    assert check({"shape": {"kind": "round"}, "other": None}, Outer).other is None


def test_bounds_are_written_out() -> None:
    with pytest.raises(InputError, match="at most 2147483647"):
        check({**REAL, "seed": 2**31}, TrainConfig)


def test_keys_by_what_they_hold() -> None:
    assert list(path_keys(Outer)) == ["shape.file"]
    assert list(open_keys(Outer)) == ["shape.deep"]
    assert {"data.root", "init.file", "init.cache"} <= set(path_keys(ROOTS["train"]))
    assert set(path_keys(ROOTS["resume"])) == {"run"}
    assert {"run", "data.root"} <= set(path_keys(ROOTS["evaluate"]))
    assert "output" in set(path_keys(ROOTS["pretrain"]))
    for verb in ("train", "evaluate", "resume"):
        assert set(open_keys(ROOTS[verb])) == {"backbone.kwargs"}
    assert members(Round | Square | None) == (Round, Square)
    assert members(int | None) == ()
    assert (join("", "a"), join("a", "b")) == ("a", "a.b")


def _real() -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose("train", ["case=small_similar"]), resolve=True)
    return plain


REAL = _real()


def leaves(node: Any, *way: str) -> list[tuple[str, ...]]:
    inner = [leaf for key, value in node.items() for leaf in leaves(value, *way, key)] if isinstance(node, dict) else []
    return [*([way] if way else []), *inner]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["???", "${x}", "${"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(leaves(REAL)), anything, st.none() | st.text(max_size=6))
@example(("optimizer", "lr"), 10**400, None)
@example(("seed",), math.inf, None)
@example(("trainer", "devices"), {"": None}, None)
def test_any_value_gives_a_config_or_an_input_error(way: tuple[str, ...], value: Any, extra: str | None) -> None:
    plain = copy.deepcopy(REAL)
    node = plain
    for key in way[:-1]:
        node = node[key]
    node[way[-1] if extra is None else extra] = value
    with suppress(InputError):
        assert isinstance(check(plain, TrainConfig), TrainConfig)


def test_hypothesis_starts_from_a_config_that_passes() -> None:
    assert isinstance(check(REAL, TrainConfig), TrainConfig)
