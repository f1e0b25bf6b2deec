"""Splits: for any labels, shares and seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.data.source import FileImages
from tlx.data.splits import carve, joined, limit, sample
from tlx.errors import InputError

COUNTS = st.lists(st.integers(2, 30), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**31 - 1)


def labels_of(counts: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def names(counts: list[int]) -> list[str]:
    return [f"class {k}" for k in range(len(counts))]


def images(counts: list[int]) -> FileImages:
    labels = labels_of(counts)
    return FileImages(Path("root"), tuple(f"{label}/{i}.png" for i, label in enumerate(labels)), labels)


@given(COUNTS, st.floats(0.01, 0.9), SEEDS)
def test_carving_loses_nothing_and_takes_its_share_of_every_class(counts: list[int], share: float, seed: int) -> None:
    labels = labels_of(counts)
    alone = np.arange(len(labels))
    rest, taken = carve(labels, alone, share, seed, "val", names(counts))
    assert sorted([*rest, *taken]) == list(range(len(labels)))
    assert np.bincount(labels[taken]).tolist() == [min(n - 1, max(1, round(share * n))) for n in counts]
    assert carve(labels, alone, share, seed, "val", names(counts))[1].tolist() == taken.tolist()


@given(COUNTS, st.floats(0.05, 0.6), SEEDS, st.data())
def test_what_belongs_together_is_never_parted(counts: list[int], share: float, seed: int, data: st.DataObject) -> None:
    labels = labels_of(counts)
    parts = np.array(data.draw(st.lists(st.integers(0, 12), min_size=len(labels), max_size=len(labels))))
    try:
        rest, taken = carve(labels, parts, share, seed, "test", names(counts))
    except InputError as error:
        assert "cannot be parted" in str(error)  # noqa: PT017
        return
    assert not set(parts[rest]) & set(parts[taken])
    assert sorted([*rest, *taken]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels[taken]) == set(labels)


def test_parts_are_dealt_near_to_the_shares_and_single_images_make_them_exact() -> None:
    labels = np.repeat([0, 1], 100)
    parts = np.arange(200)
    parts[:60] = parts[:60] // 6  # ten groups of six in class 0
    _, taken = carve(labels, parts, 0.2, 0, "test", ["a", "b"])
    assert np.bincount(labels[taken]).tolist() == [20, 20]
    in_groups = np.arange(200) // 5  # of five everywhere
    _, taken = carve(labels, in_groups, 0.2, 0, "test", ["a", "b"])
    assert np.bincount(labels[taken]).tolist() == [20, 20]
    assert len(set(in_groups[taken])) == 8


def test_carving_that_parts_groups_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: deal images out as if none belonged together."""
    labels, parts = np.repeat([0, 1], 20), np.arange(40) // 4
    _, taken = carve(labels, np.arange(40), 0.25, 0, "test", ["a", "b"])
    assert set(parts[taken]) & set(np.delete(parts, taken))


def test_a_class_in_one_group_cannot_be_parted() -> None:
    with pytest.raises(InputError, match="class 'b' cannot be parted: one group, or copies"):
        carve(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 3]), 0.2, 0, "test", ["a", "b"])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.data())
def test_groups_and_copies_join_what_they_share(groups: list[int], data: st.DataObject) -> None:
    copies = data.draw(st.lists(st.integers(0, 5), min_size=len(groups), max_size=len(groups)))
    parts = joined(np.array(copies), np.array(groups))
    for i in range(len(groups)):
        for j in range(len(groups)):
            if groups[i] == groups[j] or copies[i] == copies[j]:
                assert parts[i] == parts[j]
    # Nothing more is joined: a part's images hang together by such pairs.
    for part in set(parts.tolist()):
        inside = [i for i in range(len(groups)) if parts[i] == part]
        reached = {inside[0]}
        for _ in inside:
            reached |= {j for j in inside for i in reached if groups[i] == groups[j] or copies[i] == copies[j]}
        assert reached == set(inside)
    assert len(set(joined(np.array(copies), None).tolist())) == len(set(copies))


@given(COUNTS, st.integers(1, 40), SEEDS)
def test_limits_nest(counts: list[int], per_class: int, seed: int) -> None:
    labels = labels_of(counts)
    small, larger = (limit(labels, n, None, seed) for n in (per_class, per_class + 3))
    assert np.bincount(labels[small]).tolist() == [min(per_class, count) for count in counts]
    assert set(small) <= set(larger)
    assert limit(labels, None, None, seed).tolist() == list(range(len(labels)))


@given(COUNTS, st.floats(0.01, 1), SEEDS)
def test_a_fraction_is_taken_of_every_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = labels_of(counts)
    kept = limit(labels, None, fraction, seed)
    assert np.bincount(labels[kept]).tolist() == [max(1, round(fraction * n)) for n in counts]
    assert set(limit(labels, 3, fraction, seed)) <= set(kept)


def test_purpose_and_seed_change_what_is_taken() -> None:
    labels, alone = labels_of([30, 30]), np.arange(60)
    taken = {tuple(carve(labels, alone, 0.5, s, p, ["a", "b"])[1]) for s in (0, 1) for p in ("val", "test")}
    assert len(taken) == 4


def test_a_class_of_one_is_told() -> None:
    with pytest.raises(InputError, match=r"class 'class 1' has too few images to split"):
        carve(labels_of([5, 1]), np.arange(6), 0.2, 0, "val", names([5, 1]))


@given(COUNTS, st.integers(1, 120), SEEDS)
def test_a_sample_holds_every_class_in_its_share(counts: list[int], count: int, seed: int) -> None:
    whole = images(counts)
    chosen = sample(whole, count, seed)
    total = sum(counts)
    assert len(chosen.labels) == min(count, total)
    got = np.bincount(chosen.labels, minlength=len(counts))
    if count >= 2 * len(counts):
        assert (got >= 2).all()
    if count < total:
        spare = 2 * len(counts)  # two of each come first
        assert (np.abs(got - np.array(counts) * count / total) <= spare + 1).all()
    found = [chosen.name(index) for index in range(len(chosen.labels))]
    assert len(set(found)) == len(found)
    assert found == [name for name in whole.paths if name in set(found)]  # in the split's order
    assert [int(name.split("/")[0]) for name in found] == chosen.labels.tolist()


def test_a_sample_is_a_function_of_the_seed_and_all_of_a_small_split() -> None:
    whole = images([30, 30])
    names = [[s.name(i) for i in range(10)] for s in (sample(whole, 10, seed) for seed in (0, 0, 1))]
    assert names[0] == names[1] != names[2]
    assert sample(whole, 60, 0) is whole
