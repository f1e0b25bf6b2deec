"""The profile: finds the planted depth, decides as its rule says, and is plain data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.config.groups import AutoCut, HeadCut, LayerCut, StageCut
from tlx.errors import InputError
from tlx.features.profile import Place, Profile, cut_of, decide, index_of, places, probe_depths
from tlx.network.cut import Point


def place(index: int, width: int = 8, kind: str = "stage", head: bool = False) -> Place:
    stage = index if kind == "stage" else None
    return Place(kind, f"at{index}", stage, width, 100 * (index + 1), 1000 * (index + 1), head)


def depths(noises: list[float], count: int = 200, seed: int = 0) -> tuple[list[tuple[Place, np.ndarray]], np.ndarray]:
    """Make depths whose features tell four classes through more or less noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    centres = rng.normal(size=(4, 8))
    found = [
        (place(i), (centres[labels] + n * rng.normal(size=(count, 8))).astype(np.float32)) for i, n in enumerate(noises)
    ]
    return found, labels


@pytest.mark.parametrize("best", [0, 1, 3])
def test_a_planted_best_depth_is_found(best: int) -> None:
    noises = [4.0] * 4
    noises[best] = 0.5
    found, labels = depths(noises)
    profile = probe_depths(found, labels, AutoCut(), seed=0)
    assert (profile.best, profile.auto) == (best, best)
    assert profile.rows[best].accuracy > 0.95
    assert max(row.accuracy for i, row in enumerate(profile.rows) if i != best) < 0.8
    assert (profile.images, profile.folds, profile.repeats) == (200, 5, 4)
    row = profile.rows[best]
    assert row.loss == 0
    for other in profile.rows:
        assert other.loss == pytest.approx(row.accuracy - other.accuracy)
        assert 0 < other.standard_error <= 1.02 * (other.accuracy * (1 - other.accuracy) / 200) ** 0.5 + 1 / 200


@pytest.mark.parametrize(
    ("count", "asked", "repeats"), [(200, 4, 4), (200, 2, 2), (400, 4, 2), (1200, 4, 1), (12, 9, 9)]
)
def test_a_small_set_is_validated_more_often(count: int, asked: int, repeats: int) -> None:
    found, labels = depths([2.0], count=count)
    profile = probe_depths(found, labels, AutoCut(repeats=asked), seed=0)
    assert (profile.repeats, profile.images) == (repeats, count)
    row = profile.rows[0]
    if repeats == 1:
        assert row.standard_error == pytest.approx((row.accuracy * (1 - row.accuracy) / count) ** 0.5, rel=0.05)


def test_equally_good_depths_are_cut_at_the_shallowest() -> None:
    found, labels = depths([4.0, 0.1, 0.1, 0.1])
    profile = probe_depths(found, labels, AutoCut(), seed=0)
    assert (profile.best, profile.auto) == (1, 1)


def test_a_tolerance_moves_the_cut_towards_the_input() -> None:
    found, labels = depths([4.0, 0.9, 0.5], count=400)
    strict = probe_depths(found, labels, AutoCut(tolerance=0.0), seed=0)
    assert strict.auto == strict.best == 2
    lost = strict.rows[1].loss
    assert lost > 0.005
    assert probe_depths(found, labels, AutoCut(tolerance=lost + 1e-9), seed=0).auto == 1
    assert probe_depths(found, labels, AutoCut(tolerance=lost - 1e-9), seed=0).auto == 2


def naive(correct: np.ndarray, tolerance: float) -> tuple[int, int]:
    """Say the rule image by image, without a shortcut."""
    means = [sum(map(int, row)) / len(row) for row in correct.tolist()]
    best = max(range(len(means)), key=lambda i: (means[i], -i))
    for index in range(len(correct)):
        paired = [int(b) - int(o) for b, o in zip(correct[best].tolist(), correct[index].tolist(), strict=True)]
        if sum(paired) / len(paired) < tolerance:
            return best, index
    return best, best


@given(st.data())
def test_the_paired_rule_is_what_it_says(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    rows = data.draw(st.lists(st.lists(st.booleans(), min_size=count, max_size=count), min_size=1, max_size=6))
    tolerance = data.draw(st.sampled_from([0.0, 0.005, 0.03, 0.21, 1.0]))
    correct = np.array(rows)
    best, chosen = decide(correct, tolerance)
    assert (best, chosen) == naive(correct, tolerance)
    assert chosen <= best


def test_a_depth_that_gets_other_images_wrong_is_paired_with_the_best() -> None:
    correct = np.array([[True] * 99 + [False] * 101, [False] * 100 + [True] * 100])
    assert decide(correct, 0.005) == (1, 1)  # one of 200 images is just half a point, which is not under it
    assert decide(correct, 0.0051) == (1, 0)


def test_the_profile_is_a_function_of_its_images_and_seed() -> None:
    found, labels = depths([1.5, 1.4, 1.3])
    first = probe_depths(found, labels, AutoCut(), seed=0)
    assert probe_depths(found, labels, AutoCut(), seed=0) == first
    others = [probe_depths(found, labels, AutoCut(), seed=s) for s in (1, 2, 3)]
    assert any(other.rows != first.rows for other in others)


def test_nothing_can_be_said_of_one_image_a_class() -> None:
    found, _ = depths([1.0, 1.0], count=4)
    with pytest.raises(InputError, match="no class has two training images"):
        probe_depths(found, np.arange(4), AutoCut(), seed=0)


def test_a_profile_is_plain_and_read_back() -> None:
    found, labels = depths([1.0, 0.5])
    own = Place("all", "all up to at1", None, 16, 200, 2000, False)
    for profile in (
        probe_depths(found, labels, AutoCut(), 0),
        probe_depths(found, labels, AutoCut(), 0, place(1)),
        probe_depths(found, labels, AutoCut(), 0, own, np.hstack([part for _, part in found])),
    ):
        assert Profile.read(json.loads(json.dumps(profile.plain()))) == profile
    assert profile.cut is None
    assert profile.own is not None
    assert profile.own.place == own
    assert profile.own.accuracy >= profile.rows[0].accuracy


def test_a_head_that_reads_the_last_stage_is_no_depth_of_its_own() -> None:
    points = [Point("stage", "a", 0), Point("stage", "b", 1), Point("head", "head")]
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(10, 3)).astype(np.float32), rng.normal(size=(10, 4)).astype(np.float32)
    costs = [(1, 10), (2, 20), (2, 20)]
    merged = places(points, [3, 4, 4], costs, np.hstack([a, b, b]))
    assert [columns for _, columns in merged] == [slice(0, 3), slice(3, 7)]
    assert [(p.name, p.head) for p, _ in merged] == [("a", False), ("b", True)]
    apart = places(points, [3, 4, 4], costs, np.hstack([a, b, b + 1]))
    assert [(p.name, p.head) for p, _ in apart] == [("a", False), ("b", False), ("head", True)]
    assert apart[2][1] == slice(7, 11)
    assert (apart[1][0].width, apart[1][0].parameters, apart[1][0].multiply_adds) == (4, 2, 20)


def test_a_run_finds_its_own_depth() -> None:
    known = [place(0), place(1, head=True), place(2, kind="layer")]
    assert index_of(Place("head", "head", None, 8, 200, 2000, True), known) == 1
    assert index_of(place(0), known) == 0
    assert index_of(Place("layer", "deep.inside", None, 8, 300, 3000, False), known) == 2  # of the same cost
    assert index_of(Place("layer", "deep.inside", None, 8, 299, 3000, False), known) is None
    assert index_of(Place("head", "head", None, 8, 300, 3000, True), known[:1]) is None


def test_a_place_becomes_the_cut_that_ends_there() -> None:
    assert cut_of(place(3)) == StageCut(stage=3)
    assert cut_of(place(3, kind="layer")) == LayerCut(name="at3")
    assert cut_of(place(3, kind="head", head=True)) == HeadCut()
