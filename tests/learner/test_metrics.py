"""Metrics: against scikit-learn, and against the formula by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassAccuracy

from tlx.learner.metrics import measure, scores


def answers(classes: int, count: int, seed: int, skill: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw logits and labels; every class has an image, as tlx's own splits have."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(0, classes, (count,), generator=rng)])
    logits = 1.5 * torch.randn(len(labels), classes, generator=rng)
    logits[torch.arange(len(labels)), labels] += skill
    return logits, labels


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """Guo et al. (2017): the mean of |accuracy - confidence| over equal bins, weighted by what is in them."""
    probability = logits.double().softmax(1).numpy()
    confidence, right = probability.max(1), probability.argmax(1) == labels.numpy()
    total = 0.0
    for number in range(bins):
        here = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if here.any():
            total += here.mean() * abs(right[here].mean() - confidence[here].mean())
    return total


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(0, 60), st.integers(0, 2**31 - 1), st.sampled_from([0.0, 1.0, 3.0]))
def test_metrics_equal_scikit_learns(classes: int, count: int, seed: int, skill: float) -> None:
    logits, labels = answers(classes, count, seed, skill)
    names = [f"class {c}" for c in range(classes)]
    got = measure(logits, labels, names)
    predicted, probability = logits.argmax(1).numpy(), logits.double().softmax(1).numpy()
    expected = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "macro_f1": reference.f1_score(labels, predicted, average="macro", zero_division=0),
        "loss": reference.log_loss(labels, probability, labels=range(classes)),
        "calibration_error": calibration_error(logits, labels),
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=2e-5), name
    matrix = reference.confusion_matrix(labels, predicted, labels=range(classes))
    assert got["confusion_matrix"] == matrix.tolist()  # rows are true classes
    recall = matrix.diagonal() / matrix.sum(1)
    assert got["per_class_accuracy"] == pytest.approx(dict(zip(names, recall, strict=True)), abs=1e-6)
    assert ("top5" in got) == (classes > 5)
    if classes > 5:
        top5 = reference.top_k_accuracy_score(labels, probability, k=5, labels=range(classes))
        assert got["top5"] == pytest.approx(top5, abs=1e-6)


def test_values_by_hand() -> None:
    logits = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]])
    got = measure(logits, torch.tensor([0, 0, 0, 1, 2, 2]), ["a", "b", "c"])
    assert got["accuracy"] == pytest.approx(4 / 6)
    assert got["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert got["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)
    assert got["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert got["per_class_accuracy"] == pytest.approx({"a": 2 / 3, "b": 1.0, "c": 0.5})


def test_confidence_that_is_deserved_costs_nothing_and_blind_confidence_everything() -> None:
    labels = torch.zeros(10, dtype=torch.int64)
    sure = torch.zeros(10, 2)
    sure[:, 0] = 50
    assert measure(sure, labels, ["a", "b"])["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert measure(sure, 1 - labels, ["a", "b"])["calibration_error"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("split", [[5, 5, 5], [1, 9, 5], [15]])
def test_sums_over_batches_are_the_whole(split: list[int]) -> None:
    logits, labels = answers(6, 9, 0, 1.0)
    whole = scores(6)(logits, labels)
    summed = scores(6)
    for part, answer in zip(logits.split(split), labels.split(split), strict=True):
        summed.update(part, answer)
    assert {n: float(v) for n, v in summed.compute().items()} == pytest.approx({n: float(v) for n, v in whole.items()})


def test_top5_stays_itself_after_a_first_batch_that_is_all_right() -> None:
    """Equal states after one batch: torchmetrics' own grouping would take the two for one metric from then on."""
    summed = scores(6)
    summed.update(torch.eye(6), torch.arange(6))
    summed.update(torch.tensor([[6.0, 5, 4, 3, 2, 1]] * 6), torch.arange(6))
    assert float(summed.compute()["accuracy"]) == pytest.approx(7 / 12)
    assert float(summed.compute()["top5"]) == pytest.approx(11 / 12)


def test_what_is_measured_is_plain_and_half_precision_is_widened() -> None:
    logits, labels = answers(3, 40, 1, 2.0)
    got = measure(logits.bfloat16(), labels, list("abc"))
    assert got == measure(logits.bfloat16().float(), labels, list("abc"))

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        if isinstance(value, list):
            return all(map(plain, value))
        return type(value) in (int, float, str)

    assert plain(got)
    assert not plain({"x": np.float64(1)})


def test_classes_without_images_are_left_out_of_what_is_balanced() -> None:
    """Of two classes one is there: half of its images are taken for the other, which is no image missed of that one."""
    logits, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    assert measure(logits, labels, ["here", "absent"])["balanced_accuracy"] == pytest.approx(0.5)
    theirs = MulticlassAccuracy(2, average="macro")(logits, labels)
    assert float(theirs) == pytest.approx(0.25)  # the control: what it would be otherwise


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_balanced_accuracy_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, said = map(list, zip(*pairs, strict=True))
    logits = torch.nn.functional.one_hot(torch.tensor(said), 4).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is only predicted
        expected = reference.balanced_accuracy_score(labels, said)
    assert measure(logits, torch.tensor(labels), list("abcd"))["balanced_accuracy"] == pytest.approx(expected, abs=1e-6)
