"""Settle: given splits stay, what is missing is carved, and nothing that belongs together is parted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.config.groups import FolderData
from tlx.data import settle as settling
from tlx.data.found import Found
from tlx.data.settle import settle, whole
from tlx.data.source import SPLITS, ArrayImages, Images, Source
from tlx.errors import InputError

CLASSES = ("a", "b")


def array(contents: list[int], labels: list[int], origin: str = "made") -> ArrayImages:
    """Make an image for every number: equal numbers, equal bytes."""
    pixels = np.array([[[[n % 256, n // 256, 7]]] for n in contents], dtype=np.uint8).reshape(len(contents), 1, 1, 3)
    return ArrayImages(origin, pixels, np.array(labels, dtype=np.int64))


def found(count: int = 40, copies: int = 1, groups: np.ndarray | None = None, **given: Images) -> Found:
    """Find ``count`` images of two classes, each ``copies`` times."""
    numbers = np.repeat(np.arange(count), copies)
    train = array(numbers.tolist(), (numbers % 2).tolist())
    return Found("here", CLASSES, {"train": train, **given}, {} if groups is None else {"train": groups})


def settled(source: Found, seed: int = 0, **settings: Any) -> Source:
    return settle(source, FolderData(root="here", **settings), seed)


def contents(source: Source) -> dict[str, list[bytes]]:
    return {s: [images.content(i) for i in range(len(images.labels))] for s in SPLITS for images in [source.split(s)]}


def sizes(source: Source) -> tuple[int, ...]:
    return tuple(len(source.split(split).labels) for split in SPLITS)


@given(st.integers(4, 60), st.integers(1, 4), st.integers(0, 1000))
def test_copies_of_an_image_are_in_one_split(count: int, copies: int, seed: int) -> None:
    try:
        parts = contents(settled(found(count, copies), seed))
    except InputError as error:
        assert count < 6  # three splits of two classes need six images
        assert "cannot be parted" in str(error) or "too few images to split" in str(error)  # noqa: PT017
        return
    sets = [set(part) for part in parts.values()]
    assert not sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2]
    assert sum(map(len, parts.values())) == count * copies


def test_copies_that_are_parted_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: forget that copies belong together."""
    monkeypatch.setattr(settling, "joined", lambda digests, groups: np.arange(len(digests)))
    parts = contents(settled(found(30, 3)))
    assert set(parts["train"]) & set(parts["test"])


def test_groups_are_in_one_split() -> None:
    groups = np.arange(80) // 2 % 20  # of four images, of both classes
    source = settled(found(80, groups=groups))
    names = [{groups[int(image.name(i).rpartition("/")[2])] for i in range(len(image.labels))} for image in (
        source.train, source.val, source.test
    )]  # fmt: skip
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert sizes(source) == (56, 12, 12)
    assert "20 groups, none of them in two splits" in source.notes


def test_given_splits_that_part_groups_are_told() -> None:
    given = {"train": array([1, 2, 3, 4], [0, 1, 0, 1]), "test": array([5, 6], [0, 1]), "val": array([7, 8], [0, 1])}
    groups = {"train": np.array([0, 0, 1, 1]), "test": np.array([1, 2]), "val": np.array([3, 0])}
    notes = settled(Found("here", CLASSES, dict(given), groups)).notes
    assert "2 of 4 groups lie in several of the given splits: what is measured is too good" in notes


def test_shares_are_of_all_there_is_to_divide() -> None:
    assert sizes(settled(found(200))) == (140, 30, 30)
    assert sizes(settled(found(200), split=[0.5, 0.3, 0.2])) == (100, 60, 40)
    test = array(list(range(500, 520)), [0, 1] * 10)
    assert sizes(settled(found(200, test=test))) == (170, 30, 20)
    assert sizes(settled(found(200, val=test, test=test))) == (200, 20, 20)
    with_val = settled(found(200, val=test))
    assert sizes(with_val) == (170, 30, 20)
    assert "the validation images given serve as the test set" in with_val.notes


def test_a_limit_leaves_the_test_set_alone() -> None:
    everything = contents(settled(found(200)))
    few, share = contents(settled(found(200), per_class=20)), contents(settled(found(200), fraction=0.1))
    assert few["test"] == share["test"] == everything["test"]
    assert [len(part) for part in few.values()] == [32, 8, 30]  # 40 in all, 0.15/0.85 of them for validation
    assert [len(part) for part in share.values()] == [14, 2, 30]
    assert {*few["train"], *few["val"]} <= {*everything["train"], *everything["val"]}
    both = contents(settled(found(200), per_class=20, fraction=0.1))
    assert [len(part) for part in both.values()] == [14, 2, 30]


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(InputError, match="here has one class only: a; give at least two classes"):
        settled(Found("here", ("a",), {"train": array([1, 2], [0, 0])}))
    with pytest.raises(InputError, match="the class 'b' has no training images in here"):
        settled(Found("here", CLASSES, {"train": array([1, 2], [0, 0])}))


def test_what_is_measured_is_a_split_or_all() -> None:
    one, other = array([1], [0]), array([2], [1])
    assert whole(Found("here", CLASSES, {"train": one}, split=False), "test") == (one, ())
    assert whole(Found("here", CLASSES, {"train": one, "val": other}), "test") == (other, ())
    groups = {"train": np.array([1, 0, 1])}
    grouped = Found("here", CLASSES, {"train": one}, groups, ("a", "b"), split=False)
    assert whole(grouped, "val") == (one, ("b", "a", "b"))
    with pytest.raises(InputError, match="here has no val images; split=train or test"):
        whole(Found("here", CLASSES, {"train": one, "test": other}), "val")
