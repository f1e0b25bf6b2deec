"""The picture of the surgery shows what becomes of each part, for any network, and is sound whatever its names are."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.results.page.drawing import WIDTH, alternative, draw, legend

SVG = "{http://www.w3.org/2000/svg}"


def stage(index: int, fate: str = "kept", state: str = "frozen", name: str = "") -> dict[str, Any]:
    return {
        "index": index,
        "name": name or f"layer{index}",
        "shape": [8 * 2**index, max(1, 64 >> index), max(1, 64 >> index)],
        "parameters": 100 * (index + 1),
        "multiply_adds": 1000 * (index + 1),
        "fate": fate,
        "state": state if fate != "cut" else "",
        "ends": f"layer{index}.1" if fate == "inside" else "",
    }


def outline(stages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    head = {"words": "the new fully connected layer", "kind": "linear", "pool": "auto", "width": 32, "parameters": 99}
    return {
        "image_size": 64,
        "backbone": "net",
        "classes": 3,
        "cut": "behind stage layer2",
        "weights": "w.safetensors",
        "features": [32, 8, 8],
        "stages": stages,
        "head": head,
        "parameters": {"kept": 1, "dropped": 2, "trained": 3, "frozen": 4},
        **changes,
    }


def looks(svg: str) -> list[str]:
    """List the looks of the parts, from the top on."""
    root = ElementTree.fromstring(svg)
    return [group.attrib["class"] for group in root.iter(f"{SVG}g")]


def words(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("stages", "changes", "expected"),
    [
        ([stage(0), stage(1)], {}, ["image", "frozen", "frozen", "pool", "new", "cut"]),
        ([stage(0), stage(1, "cut"), stage(2, "cut")], {}, ["image", "frozen", "pool", "new", "cut", "cut", "cut"]),
        ([stage(0, state="trained")], {}, ["image", "trained", "pool", "new", "cut"]),
        ([stage(0, state="trained")], {"weights": None}, ["image", "random", "pool", "new", "cut"]),
        ([stage(0), stage(1, state="trained from epoch 3")], {}, ["image", "frozen", "trained", "pool", "new", "cut"]),
        ([stage(0), stage(1, "inside")], {}, ["image", "frozen", "frozen", "pool", "new", "cut"]),
        ([stage(0)], {"parameters": {"dropped": 0}}, ["image", "frozen", "pool", "new"]),
    ],
)
def test_every_part_looks_like_its_fate(stages: list, changes: dict, expected: list[str]) -> None:
    told = outline(stages, **changes)
    assert looks(draw(told, ["a", "b"])) == expected
    shown = {look for look, _ in legend(told)}
    assert shown == set(expected) - {"image", "pool"}  # the legend explains what is there, and nothing else


def test_a_backbone_that_pools_itself_has_no_pool() -> None:
    head = {**outline([])["head"], "pool": None}
    assert "pool" not in looks(draw(outline([stage(0)], head=head), ["a"]))


def test_many_alike_are_drawn_as_one() -> None:
    svg = draw(outline([stage(i, state="frozen") for i in range(9)] + [stage(9, "cut"), stage(10, "cut")]), ["a"])
    assert "7 more stages" in words(svg)
    assert looks(svg).count("frozen") == 3
    eight = draw(outline([stage(i) for i in range(8)]), ["a"])
    assert looks(eight).count("frozen") == 8


def test_a_picture_says_in_words_what_it_shows() -> None:
    told = alternative(outline([stage(0), stage(1, "cut")]))
    assert (
        told == "net: kept, frozen: layer0; cut away: layer1 and the old classifier; new: the new fully connected layer"
    )


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=12), st.text(min_size=1, max_size=60))
def test_names_are_only_names(classes: list[str], name: str) -> None:
    svg = draw(outline([stage(0, name=name), stage(1, "cut", name=name)], backbone=name), classes)
    root = ElementTree.fromstring(svg)  # well-formed, whatever they are
    assert not list(root.iter(f"{SVG}script"))
    assert all(0 <= float(text.attrib["x"]) <= WIDTH for text in root.iter(f"{SVG}text"))


def test_two_pictures_of_a_page_share_no_name() -> None:
    def ids(name: str) -> set[str]:
        root = ElementTree.fromstring(draw(outline([stage(0)]), ["a"], name))
        return {element.attrib["id"] for element in root.iter() if "id" in element.attrib}

    assert ids("one")
    assert not ids("one") & ids("two")
    assert ids("one") & ids("one")
