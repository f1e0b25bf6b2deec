"""The factor that makes probabilities of scores: the best one, and finite where that would be endless."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tlx.features.temperature import fit_sharpness, fit_temperature
from tlx.network.neighbours import NEVER


def drawn(factor: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw scores and labels for which ``factor`` is right."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(count, 5, generator=generator) * 3 + 7
    return scores, torch.multinomial((scores * factor).softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.01, 0.3, 1.0, 4.0])
def test_the_factor_is_found(factor: float) -> None:
    scores, labels = drawn(factor)
    found = fit_sharpness(scores, labels)
    assert found == pytest.approx(factor, rel=0.1, abs=0.02)
    losses = [float(F.cross_entropy(found * by * scores, labels)) for by in (0.9, 1.0, 1.1)]
    assert losses[1] <= min(losses) + 1e-5
    assert fit_sharpness(scores * 50, labels) == pytest.approx(found / 50, rel=1e-3)
    assert fit_sharpness(scores + 1000, labels) == pytest.approx(found, rel=1e-3)  # what all classes share says nothing


@pytest.mark.parametrize("count", [1, 30, 1000])
def test_right_predictions_alone_do_not_make_it_endless(count: int) -> None:
    labels = torch.arange(count) % 3
    scores = F.one_hot(labels, 3).float()
    found = fit_sharpness(scores, labels)
    sure = float((found * scores).softmax(1).gather(1, labels[:, None]).mean())
    assert sure == pytest.approx((count + 1 / 3) / (count + 1), abs=1e-3)
    # The negative control: one mistake more, and it is less sure.
    assert fit_sharpness(torch.cat([scores, scores[:1]]), torch.cat([labels, (labels[:1] + 1) % 3])) < found


def test_scores_that_tell_nothing_stay() -> None:
    assert fit_sharpness(torch.full((10, 3), 4.0), torch.zeros(10, dtype=torch.int64)) == 1.0
    assert fit_sharpness(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == 1.0


def test_scores_that_are_wrong_count_nearly_nothing() -> None:
    labels = torch.arange(100) % 3
    scores = -F.one_hot(labels, 3).float()
    assert 0 < fit_sharpness(scores, labels) < 1e-3


def test_a_temperature_is_one_over_the_factor_and_never_asks_about_classes_that_are_never_predicted() -> None:
    scores, labels = drawn(0.3)
    found = fit_temperature(scores, labels)
    assert found == pytest.approx(1 / fit_sharpness(scores, labels))
    wider = torch.cat([scores[:, :2], torch.full((len(scores), 1), NEVER), scores[:, 2:]], 1)
    moved = labels + (labels >= 2)
    assert fit_temperature(wider, moved) == pytest.approx(found)
    unknown = torch.cat([moved, torch.tensor([2, 2, 2])])  # images of that class
    assert fit_temperature(torch.cat([wider, wider[:3]]), unknown) == pytest.approx(found)
    assert fit_temperature(wider[:3], torch.tensor([2, 2, 2])) == 1.0
    # The negative control: taken as they are, such logits swamp all others.
    assert 1 / fit_sharpness(wider, moved) != pytest.approx(found, rel=0.1)
