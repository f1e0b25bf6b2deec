"""Splits: for any labels, shares and seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.data.source import FileImages
from tlx.data.splits import carve, limit, sample
from tlx.errors import InputError

COUNTS = st.lists(st.integers(2, 30), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**31 - 1)


def images(counts: list[int]) -> FileImages:
    labels = np.repeat(np.arange(len(counts)), counts)
    return FileImages(Path("root"), tuple(f"{label}/{i}.png" for i, label in enumerate(labels)), labels)


@given(COUNTS, st.floats(0.01, 0.9), SEEDS)
def test_carving_loses_nothing_and_takes_its_share_of_every_class(counts: list[int], share: float, seed: int) -> None:
    whole = images(counts)
    rest, taken = carve(whole, share, seed, "val")
    assert sorted(rest.paths + taken.paths) == sorted(whole.paths)
    for part in (rest, taken):
        assert [int(p.partition("/")[0]) for p in part.paths] == part.labels.tolist()
    for label, count in enumerate(counts):
        got = int((taken.labels == label).sum())
        assert got == min(count - 1, max(1, round(share * count)))
    again = carve(whole, share, seed, "val")[1]
    assert again.paths == taken.paths


@given(COUNTS, st.integers(1, 40), SEEDS)
def test_limits_nest(counts: list[int], per_class: int, seed: int) -> None:
    whole = images(counts)
    small, larger = limit(whole, per_class, seed), limit(whole, per_class + 3, seed)
    assert np.bincount(small.labels).tolist() == [min(per_class, count) for count in counts]
    assert set(small.paths) <= set(larger.paths) <= set(whole.paths)
    assert limit(whole, None, seed) is whole


def test_purpose_and_seed_change_what_is_taken() -> None:
    whole = images([30, 30])
    taken = {carve(whole, 0.5, seed, purpose)[1].paths for seed in (0, 1) for purpose in ("val", "test")}
    assert len(taken) == 4


def test_a_class_of_one_is_told_with_its_file() -> None:
    with pytest.raises(InputError, match=r"one image only \(1/5.png\)"):
        carve(images([5, 1]), 0.2, 0, "val")


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
    names = [chosen.name(index) for index in range(len(chosen.labels))]
    assert len(set(names)) == len(names)
    assert names == [name for name in whole.paths if name in set(names)]  # in the split's order
    assert [int(name.split("/")[0]) for name in names] == chosen.labels.tolist()


def test_a_sample_is_a_function_of_the_seed_and_all_of_a_small_split() -> None:
    whole = images([30, 30])
    names = [[s.name(i) for i in range(10)] for s in (sample(whole, 10, seed) for seed in (0, 0, 1))]
    assert names[0] == names[1] != names[2]
    assert sample(whole, 60, 0) is whole
