"""Learning curve: subsets are nested and stratified, a known curve is found again, and its interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.features.learning_curve import Point, fitted, learning_curve, nested
from tlx.features.probe import Probe, cross_validate


def drawn(count: int, classes: int = 4, width: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    return (rng.normal(size=(count, width)) * 2 + centres[labels]).astype(np.float32), labels


def points_of(floor: float, scale: float, exponent: float, noise: float = 0.0, seed: int = 0) -> list[Point]:
    rng = np.random.default_rng(seed)
    images = [50, 100, 200, 400]
    errors = [floor + scale * n**-exponent + noise * rng.normal() for n in images]
    return [Point(n, 1 - error, max(noise, 1e-3)) for n, error in zip(images, errors, strict=True)]


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=200), draw=st.integers(0, 7))
def test_subsets_are_stratified_whatever_their_size(labels: list[int], draw: int) -> None:
    array = np.array(labels)
    order = nested(array, draw, 0)
    assert sorted(order) == list(range(len(array)))
    for share in (8, 4, 2):
        subset = array[order[: len(array) // share]]
        for label in np.unique(array):
            assert abs((subset == label).sum() - (array == label).sum() / share) <= 2 + len(np.unique(array)) / 2


@given(
    floor=st.floats(0, 0.3), scale=st.floats(0.5, 2), exponent=st.floats(0.2, 0.9), images=st.sampled_from([800, 1600])
)
@settings(deadline=None, max_examples=30)
def test_a_curve_without_noise_is_found_again(floor: float, scale: float, exponent: float, images: int) -> None:
    curve = fitted(points_of(floor, scale, exponent), 0)
    assert curve.at(images)[0] == pytest.approx(1 - floor - scale * images**-exponent, abs=0.006)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = 1 - 0.05 - 1.0 * 800**-0.5
    inside = 0
    for seed in range(60):
        _, low, high = fitted(points_of(0.05, 1.0, 0.5, noise=0.01, seed=seed), seed).at(800)
        inside += low <= truth <= high
    assert inside >= 45


def test_what_was_measured_is_what_more_images_bring() -> None:
    """The curve of a quarter of the images says what all of them bring, within its interval."""
    features, labels = drawn(1600)
    few = np.arange(400)
    curve = learning_curve(features[few], labels[few], 0)
    whole = learning_curve(features, labels, 0)
    assert curve is not None
    assert whole is not None
    assert [point.images for point in whole.points] == [160, 320, 640, 1280]
    assert whole.points[-1].accuracy > whole.points[0].accuracy + 0.02
    _, low, high = curve.at(1280)
    assert low - 0.01 <= whole.points[-1].accuracy <= high + 0.01


def test_what_is_known_of_all_images_is_not_found_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = drawn(400)
    told = Point(200, 0.77, 0.02)
    seen: list[int] = []

    def watched(features: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> Probe:
        seen.append(len(labels))
        return cross_validate(features, labels, fold)

    monkeypatch.setattr("tlx.features.learning_curve.cross_validate", watched)
    curve = learning_curve(features, labels, 0, 2, told)
    assert curve is not None
    assert curve.points[-1] == told
    assert [point.images for point in curve.points[:-1]] == [25, 50, 100]  # half of each subset
    assert max(seen) == 200
    learning_curve(features, labels, 0, 2)
    assert max(seen) == 400  # where nothing is known


def test_no_more_subsets_are_drawn_than_hold_out_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(features: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> Probe:
        seen.append(len(labels))
        return cross_validate(features, labels, fold)

    monkeypatch.setattr("tlx.features.learning_curve.cross_validate", counted)
    for count, draws in ((400, [8, 4, 2, 1]), (2000, [4, 2, 1, 1])):
        seen.clear()
        features, labels = drawn(count, width=4)
        assert learning_curve(features, labels, 0) is not None
        assert [seen.count(count // share) for share in (8, 4, 2, 1)] == draws


def test_labels_that_mean_nothing_bring_nothing() -> None:
    features, labels = drawn(800)
    curve = learning_curve(features, np.random.default_rng(5).permutation(labels), 0)
    assert curve is not None
    assert curve.at(1600)[0] == pytest.approx(0.25, abs=0.06)


def test_more_images_never_make_it_worse() -> None:
    falling = [Point(n, accuracy, 0.01) for n, accuracy in ((50, 0.9), (100, 0.88), (200, 0.87))]
    curve = fitted(falling, 0)
    assert curve.at(400)[0] == pytest.approx(curve.at(50)[0])


def test_too_few_images_make_no_curve() -> None:
    features, labels = drawn(7)
    assert learning_curve(features, labels, 0) is None


def test_it_is_the_same_again() -> None:
    features, labels = drawn(200)
    first, second = (learning_curve(features, labels, 3) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.plain() == second.plain()
    assert first.at(999) == second.at(999)
