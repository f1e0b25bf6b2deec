"""Knots: a file may stand for as many values as are allowed and not one more, and is refused before it is unfolded."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf, _utils

from tlx.config import knots
from tlx.config.knots import CHAINED, LETTERS, NODES, KnotError, must_be_short, read_yaml, resolved, untied, untying
from tlx.errors import InputError

SCALARS = st.none() | st.booleans() | st.integers() | st.text("ab c:-#&*{}[]", max_size=6)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)
LAUGHS = "\n".join(
    [
        "a0: &a0 [x, x]",
        *(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 30)),
    ]
)  # ten times as much in every line


def size(value: Any) -> int:
    """Count the values in plain data, keys among them."""
    if isinstance(value, dict):
        return 1 + sum(1 + size(inner) for inner in value.values())
    return 1 + sum(map(size, value)) if isinstance(value, list) else 1


def quick(limit: float = 2.0) -> Any:
    """Check that what follows is no work at all."""

    class Quick:
        def __enter__(self) -> None:
            self.start = time.monotonic()

        def __exit__(self, *_: object) -> None:
            assert time.monotonic() - self.start < limit

    return Quick()


@given(PLAIN)
def test_what_is_written_out_is_read_as_yaml_reads_it(value: Any) -> None:
    text = yaml.safe_dump(value)
    assert read_yaml(text) == yaml.safe_load(text) == value


@given(PLAIN, st.integers(1, 5))
@example([], 1)
def test_values_are_counted_as_often_as_they_are_used(value: Any, times: int) -> None:
    """To the value: with as many allowed it is read, with one less it is refused."""
    text = yaml.safe_dump([value] * times)
    count = size([value] * times)
    for allowed in (count, count - 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(knots, "NODES", allowed)
            if allowed == count:
                assert read_yaml(text) == [value] * times
            else:
                with pytest.raises(InputError, match="its aliases stand for more than"):
                    read_yaml(text)


def test_a_billion_laughs_are_refused_before_they_are_unfolded() -> None:
    with quick(), pytest.raises(InputError, match=r"more than 100,000 values, or for themselves; mend the file"):
        read_yaml(LAUGHS)
    # The negative control: a few of its lines are read.
    few = read_yaml("\n".join(LAUGHS.splitlines()[:4]))
    assert size(few) < NODES
    assert few["a3"][9][9][9] == ["x", "x"]


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: [*a]}", "&a {? *a : 1}", "x: &x {<<: *x}"])
def test_a_circle_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="or for themselves"):
        read_yaml(text)


@pytest.mark.parametrize("text", ["a: &a {b: 1}\nc: {<<: *a}", "[&a x, *a]", "a: &a [1]\nb: *a"])
def test_aliases_that_stand_for_little_are_read(text: str) -> None:
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\tx",
        "!!python/object/apply:os.system ['x']",
        "2026-13-45",
        "[" * 5000,
        "a: 1\n---\nb: 2",
        "\0",
    ],
    ids=["open", "two", "tab", "code", "date", "deep", "many", "zero"],
)
def test_what_is_no_plain_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^this is no YAML: .+; mend the file$") as error:
        read_yaml(text)
    assert "\n" not in str(error.value)


def test_omegaconf_reads_by_such_a_loader_only_inside() -> None:
    theirs = _utils.get_yaml_loader
    with untying():
        with pytest.raises(KnotError, match="aliases stand for more than") as error:
            OmegaConf.create(LAUGHS)
        assert error.value.problem_mark is not None
        # What is OmegaConf's own way of reading stays: 1e-3 is a number, a key stands once.
        assert OmegaConf.create("a: &a 1e-3\nb: *a") == {"a": 0.001, "b": 0.001}
        with pytest.raises(yaml.constructor.ConstructorError, match="duplicate"):
            OmegaConf.create("a: 1\na: 2")
    assert _utils.get_yaml_loader is theirs
    with pytest.raises(ZeroDivisionError), untying():
        raise ZeroDivisionError
    assert _utils.get_yaml_loader is theirs
    # The negative control: outside, a knot is unfolded.
    little = "\n".join(LAUGHS.splitlines()[:3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knots, "NODES", 10)
        assert size(OmegaConf.to_container(OmegaConf.create(little))) > 10
        with untying(), pytest.raises(KnotError):
            OmegaConf.create(little)


def test_a_loader_of_ones_own_is_derived_from() -> None:
    class Own(yaml.SafeLoader):
        pass

    Own.add_constructor("!own", lambda loader, node: f"own {node.value}")
    assert issubclass(untied(Own), Own)
    assert yaml.load("!own x", Loader=untied(Own)) == "own x"  # type: ignore[arg-type]
    assert yaml.load("", Loader=untied(Own)) is None  # type: ignore[arg-type]


def chained(count: int) -> dict[str, Any]:
    """Build a config with so many interpolations of what is interpolated itself."""
    return {"x": 1, "a": "${x}", "b": {f"k{index}": ["${a}"] for index in range(count)}}


def test_so_many_chained_interpolations_are_resolved_and_not_one_more() -> None:
    assert resolved(chained(CHAINED)) == {"x": 1, "a": 1, "b": {f"k{index}": [1] for index in range(CHAINED)}}
    with pytest.raises(InputError, match=f"the config has {CHAINED + 1} interpolations of what is itself interpolated"):
        resolved(chained(CHAINED + 1))


def test_a_text_that_doubles_itself_is_refused_before_it_is_resolved() -> None:
    plain = {"a0": "ha", **{f"a{level}": f"${{a{level - 1}}}" * 2 for level in range(1, 40)}}
    with quick(), pytest.raises(InputError, match=f"write values out; at most {CHAINED} of them are resolved"):
        resolved(plain)
    # The negative control: its beginning is short, and longer for every level.
    assert resolved(dict(list(plain.items())[:5]))["a4"] == "ha" * 16


def test_a_long_value_may_be_named_a_few_times_and_not_many() -> None:
    """A file of 200 kB would make a text of a gigabyte, of plain values alone."""
    long, times = "x" * (LETTERS // 4), "${long}"
    assert len(resolved({"long": long, "all": [times * 2, {"x": times * 2}]})["all"][0]) == LETTERS // 2
    for many in ({"all": times * 5}, {"all": [times] * 5}, {"all": times * 4, "short": "y", "also": "${short}"}):
        with quick(), pytest.raises(InputError, match=r"interpolations of the config make 1,[0-9,]+ letters; at most"):
            resolved({"long": long, **many})


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("${plain}", 0),
        ("${group.plain} and ${plain}", 0),
        ("${oc.env:HOME}", 0),
        ("${now:%Y-%m-%d}", 0),
        ("${hydra:runtime.output_dir}/x", 0),
        ("$x {y}", 0),
        ("${chain}", 1),
        ("${group}", 1),
        ("${nowhere}", 1),
        ("${nothing}", 1),
        ("${.plain}", 1),
        ("${list}", 1),
        ("${oc.env:${plain}}", 1),
        ("${oc.env:HOME,${chain}}", 2),
        ("${oc.create:${group}}", 2),
        ("${oc.decode:x}", 1),
        ("${${plain}}", 1),
        ("${plain}${chain}${chain}", 2),
    ],
)
def test_which_interpolations_count(monkeypatch: pytest.MonkeyPatch, text: str, counts: int) -> None:
    """Those of plain values, of the environment, of the time and of Hydra cannot multiply anything."""
    group = {"plain": 1.5, "list": ["x"]}
    config = {"plain": "x", "chain": "${plain}", "group": group, "list": [1], "nothing": None, "at": [{"deep": text}]}
    monkeypatch.setattr(knots, "CHAINED", counts)
    must_be_short(config)
    monkeypatch.setattr(knots, "CHAINED", counts - 1)
    with pytest.raises(InputError, match=f"the config has {counts} interpolations"):
        must_be_short(config)
