"""Mixing: images and labels by the same share, a function of the seed and of nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.config.groups import LightAugment, NoAugment, StandardAugment
from tlx.learner.mix import Mix, mix_for, weighed

CLASSES = 4
LABELS = torch.tensor([0, 1, 2, 3, 1, 1])
IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
WAYS = [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)]


@pytest.mark.parametrize(("mixup", "cutmix"), WAYS)
def test_a_mix_is_a_function_of_its_seed(mixup: float, cutmix: float) -> None:
    mix = Mix(mixup, cutmix, CLASSES)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    images, targets = mix(IMAGES, LABELS, 1)
    assert torch.equal(torch.get_rng_state(), before)  # dropout draws what it would have drawn
    torch.manual_seed(4)
    again, targets_again = mix(IMAGES, LABELS, 1)
    assert torch.equal(images, again)
    assert torch.equal(targets, targets_again)
    other, targets_other = mix(IMAGES, LABELS, 5)
    assert not torch.equal(images, other)
    assert not torch.equal(targets, targets_other)


@given(st.sampled_from(WAYS), st.integers(0, 2**63 - 1))
@settings(max_examples=60)
def test_soft_labels_sum_to_one_and_name_an_image_and_its_neighbour(ways: tuple[float, float], seed: int) -> None:
    _, targets = Mix(*ways, CLASSES)(IMAGES, LABELS, seed)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(LABELS)))
    assert bool((targets >= 0).all())
    for target, own, neighbour in zip(targets, LABELS, LABELS.roll(1), strict=True):
        assert float(target[own] + (target[neighbour] if own != neighbour else 0)) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_by_the_share_that_the_labels_tell(seed: int) -> None:
    images, targets = Mix(1.0, 0.0, CLASSES)(IMAGES, LABELS, seed)
    share = targets[0, LABELS[0]]
    assert 0 < float(share) < 1
    torch.testing.assert_close(images, share * IMAGES + (1 - share) * IMAGES.roll(1, 0), rtol=1e-4, atol=1e-5)
    own, other = (torch.nn.functional.one_hot(labels, CLASSES) for labels in (LABELS, LABELS.roll(1)))
    torch.testing.assert_close(targets, share * own + (1 - share) * other)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_as_much_as_the_labels_tell(seed: int) -> None:
    images, targets = Mix(0.0, 1.0, CLASSES)(IMAGES, LABELS, seed)
    own, other = images == IMAGES, images == IMAGES.roll(1, 0)
    assert bool((own | other).all())
    pasted = 1 - own.float().mean((1, 2, 3))
    torch.testing.assert_close(targets[torch.arange(3), LABELS[:3]], 1 - pasted[:3])
    rows = torch.nonzero(~own[0, 0])
    if len(rows):
        height, width = (rows.max(0).values - rows.min(0).values + 1).tolist()
        assert height * width == len(rows)  # one rectangle


def test_where_both_are_on_each_batch_gets_one() -> None:
    mix = Mix(1.0, 1.0, CLASSES)
    blended = [bool(((mix(IMAGES, LABELS, seed)[0] != IMAGES).float().mean() > 0.99).item()) for seed in range(200)]
    assert 70 < sum(blended) < 130


@pytest.mark.parametrize("alpha", [1e-3, 0.01, 100.0])
def test_extreme_shares_stay_numbers(alpha: float) -> None:
    for seed in range(50):
        for ways in ((alpha, 0.0), (0.0, alpha)):
            images, targets = Mix(*ways, CLASSES)(IMAGES, LABELS, seed)
            assert bool(images.isfinite().all())
            assert bool(targets.isfinite().all())


def test_one_image_alone_is_mixed_with_itself() -> None:
    images, targets = Mix(1.0, 0.0, CLASSES)(IMAGES[:1], LABELS[:1], 0)
    torch.testing.assert_close(images, IMAGES[:1])
    torch.testing.assert_close(targets, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))


def test_off_is_none() -> None:
    assert mix_for(NoAugment(), CLASSES) is None
    assert mix_for(LightAugment(), CLASSES) is None
    assert mix_for(StandardAugment(), CLASSES) is None
    assert mix_for(LightAugment(mixup=0.2), CLASSES) is not None
    assert mix_for(StandardAugment(cutmix=1.0), CLASSES) is not None


def test_weighed_is_the_class_weight_for_hard_labels_and_a_share_each_for_soft_ones() -> None:
    by_class = torch.tensor([1.0, 2.0, 4.0, 0.5])
    hard = torch.nn.functional.one_hot(LABELS, CLASSES).float()
    targets, weights = weighed(hard, by_class)
    assert torch.equal(targets, hard)
    assert torch.equal(weights, by_class[LABELS])
    targets, weights = weighed(torch.tensor([[0.25, 0.75, 0.0, 0.0]]), by_class)
    assert weights.tolist() == [1.75]
    torch.testing.assert_close(targets, torch.tensor([[1 / 7, 6 / 7, 0.0, 0.0]]))
