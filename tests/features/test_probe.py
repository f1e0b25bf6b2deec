"""Probes: cross-validated on the images they are given, each judged by heads that had not seen it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tlx.config.groups import LbfgsSolver
from tlx.features import probe
from tlx.features.bank import Bank
from tlx.features.probe import cross_validate, deal, error_of
from tlx.features.solver import solve


def clusters(count: int, dims: int, classes: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.int64)
    centres = np.random.default_rng(99).normal(size=(classes, dims))
    scale = np.random.default_rng(98).uniform(0.01, 50, dims)
    return ((centres[labels] + spread * rng.normal(size=(count, dims))) * scale + 7).astype(np.float32), labels


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(2, 7), st.integers(1, 3), st.integers(0, 9))
def test_folds_are_stratified_even_and_complete(labels: list[int], folds: int, repeats: int, seed: int) -> None:
    y = np.array(labels)
    dealt = deal(y, folds, repeats, seed)
    assert dealt.shape == (len(y), repeats)
    counts = np.bincount(y)
    single = np.isin(y, np.flatnonzero(counts == 1))
    most = min(folds, counts.max())
    for fold in dealt.T:
        assert ((fold == -1) == single).all()  # the only image of its class is never held out
        assert fold.max() < most
        for label in np.flatnonzero(counts > 1):
            held = np.bincount(fold[y == label], minlength=most)
            assert held.max() - held.min() <= 1
            assert held.max() < counts[label]  # something of the class is left to learn from
        sizes = np.bincount(fold[fold >= 0], minlength=most)
        assert sizes.max() - sizes.min() <= 1


def test_folds_are_a_function_of_the_seed_and_the_repeat() -> None:
    labels = np.arange(60) % 3
    assert (deal(labels, 5, 2, 1) == deal(labels, 5, 2, 1)).all()
    assert (deal(labels, 5, 2, 1)[:, :1] == deal(labels, 5, 1, 1)).all()  # more repeats leave the first as it was
    columns = [deal(labels, 5, 2, seed)[:, repeat] for seed in (1, 2) for repeat in (0, 1)]
    assert all((one != other).any() for i, one in enumerate(columns) for other in columns[:i])
    assert len(set(columns[0])) == 5
    assert len(set(deal(np.array([0, 0, 0, 1, 1, 2]), 5, 1, 0)[:, 0]) - {-1}) == 3  # the largest class has three


def reference(features: np.ndarray, labels: np.ndarray, fold: np.ndarray, strength: float) -> np.ndarray:
    """Say which images scikit-learn gets right, solved to convergence a fold."""
    x = (features - features.mean(0)) / features.std(0)
    correct = np.zeros(len(labels), bool)
    for held in range(fold.max() + 1):
        train = fold != held
        count = train.sum() / (2 if labels.max() == 1 else 1)
        model = LogisticRegression(C=1 / (strength * count), max_iter=5000, tol=1e-6).fit(x[train], labels[train])
        correct[~train] = model.predict(x[~train]) == labels[~train]
    return correct


@pytest.mark.parametrize(("count", "dims", "classes"), [(120, 6, 3), (60, 200, 3), (90, 30, 2), (200, 16, 10)])
def test_a_probe_is_regularised_logistic_regression(
    count: int, dims: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = clusters(count, dims, classes, spread=2.0)
    fold = deal(labels, 5, 1, 0)
    for strength in (1.0, 0.1, 0.01):
        monkeypatch.setattr(probe, "STRENGTHS", (1.0, 0.1, 0.01)[: (1.0, 0.1, 0.01).index(strength) + 1][-1:])
        expected = reference(features, labels, fold[:, 0], strength)[:, None]
        got = cross_validate(features, labels, fold)
        assert got.strength == strength
        assert (got.correct == expected).mean() >= 0.97
    # Negative control: another strength is another probe.
    other = reference(features, labels, fold[:, 0], 300.0)[:, None]
    assert (other != expected).mean() > 0.03 or dims > count


def test_repeats_are_cross_validations_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clusters(90, 12, 3, spread=3.0)
    monkeypatch.setattr(probe, "STRENGTHS", (0.1,))
    fold = deal(labels, 5, 3, 0)
    together = cross_validate(features, labels, fold).correct
    assert together.shape == (90, 3)
    for repeat in range(3):
        alone = cross_validate(features, labels, fold[:, [repeat]]).correct
        assert (together[:, [repeat]] == alone).mean() >= 0.97  # they stop together, not each on its own
    assert (together[:, 0] != together[:, 1]).any()


def test_the_strength_is_the_one_that_gets_most_right(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clusters(150, 40, 3, spread=4.0)
    fold = deal(labels, 5, 1, 0)
    found = cross_validate(features, labels, fold)
    alone = {}
    for strength in probe.STRENGTHS:
        monkeypatch.setattr(probe, "STRENGTHS", (strength,))
        alone[strength] = cross_validate(features, labels, fold).correct.mean()
    assert found.correct.mean() == pytest.approx(max(alone.values()), abs=0.03)
    assert len(set(alone.values())) > 1  # the question was there


def test_no_image_is_judged_by_what_learned_it() -> None:
    """Labels that nothing tells: a head that had seen them would get all right, as the solver here does."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(80, 300)).astype(np.float32), np.arange(80) % 2
    assert cross_validate(features, labels, deal(labels, 5, 1, 0)).correct.mean() < 0.7
    bank = Bank(features, labels)
    seen = solve(bank, bank, 2, LbfgsSolver(strengths=[1e-4]), None)
    assert ((features @ seen.weight.T + seen.bias).argmax(1) == labels).mean() == 1.0


def test_an_image_that_is_never_held_out_is_learned_from_and_not_judged() -> None:
    features, labels = clusters(40, 5, 2, spread=0.1)
    features = np.vstack([features, features[:1] * 3]).astype(np.float32)
    labels = np.append(labels, 2)
    fold = deal(labels, 5, 1, 0)
    found = cross_validate(features, labels, fold)
    assert fold[-1, 0] == -1
    assert not found.correct[-1].any()
    assert found.correct[:-1].all()


def test_features_that_never_vary_leave_chance() -> None:
    labels = np.arange(40) % 4
    found = cross_validate(np.full((40, 3), 5.0, np.float32), labels, deal(labels, 5, 1, 0))
    assert found.correct.mean() <= 0.3


def test_a_strength_that_others_chose_does_not_flatter() -> None:
    rng = np.random.default_rng(0)
    flattered, told = [], []
    for _ in range(60):
        features, labels = rng.normal(size=(60, 8)).astype(np.float32), rng.integers(0, 2, 60)
        fold = np.where(np.arange(60) < 40, -1, 0)[:, None]
        flattered.append(cross_validate(features, labels, fold).correct[40:].mean())
        told.append(cross_validate(features, labels, fold, probe.STRENGTHS[2]).correct[40:].mean())
    error = 0.5 / np.sqrt(60 * 20)
    assert np.mean(told) == pytest.approx(0.5, abs=3 * error)
    assert np.mean(flattered) > np.mean(told) + 0.02  # the negative control: chosen by what it is judged by


def test_a_given_strength_is_the_one_on_the_path() -> None:
    features, labels = clusters(60, 6, 4, spread=2.0)
    fold = deal(labels, 5, 1, 0)
    found = cross_validate(features, labels, fold)
    again = cross_validate(features, labels, fold, found.strength)
    assert again.strength == found.strength
    assert (again.correct == found.correct).all()


def test_the_error_of_a_share_is_how_far_shares_lie_apart() -> None:
    """Of images that are drawn class by class, some classes hard and some easy."""
    rng = np.random.default_rng(0)
    hard, labels = np.repeat([0.1, 0.5, 0.95], 30), np.repeat(np.arange(3), 30)
    drawn = [(rng.random(90) < hard).astype(float) for _ in range(2000)]
    apart = float(np.std([one.mean() for one in drawn]))
    said = float(np.mean([error_of(one, labels) for one in drawn]))
    assert said == pytest.approx(apart, rel=0.05)
    one_class = float(np.mean([error_of(one, np.zeros(90, np.int64)) for one in drawn]))
    assert one_class > 1.2 * apart  # as if it were chance how many hard ones there are


def test_all_of_a_few_images_are_no_certainty() -> None:
    few, many = (error_of(np.ones(count), np.arange(count) % 2) for count in (34, 3400))
    assert few == pytest.approx(1 / np.sqrt(34 * 36))  # about one of 36 may be wrong
    assert 0 < many < 0.001


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=60))
def test_an_error_is_there_and_finite_whatever_the_classes(images: list[tuple[int, bool]]) -> None:
    labels, right = (np.array(column) for column in zip(*images, strict=True))
    error = error_of(right.astype(float), labels)
    assert 0 < error < 1
    assert error_of(1 - right.astype(float), labels) == pytest.approx(error)  # of what is wrong, the same


def test_few_folds_fitted_one_by_one_find_what_many_side_by_side_do(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clusters(300, 12, 3, 2.0)
    fold = deal(labels, 2, 1, 0)
    alone = cross_validate(features, labels, fold)
    monkeypatch.setattr(probe, "ALONE", 0)
    together = cross_validate(features, labels, fold)
    assert alone.strength == together.strength
    assert (alone.correct != together.correct).mean() < 0.01
    assert 0.6 < alone.correct.mean() < 1.0
