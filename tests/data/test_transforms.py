"""Transforms: prepared as the reference prepares, drawn from nothing but (seed, epoch, index)."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from tlx.config.groups import LightAugment, NoAugment, StandardAugment, StrongAugment
from tlx.data.transforms import Augment, Draw, Prepare
from tlx.errors import InputError
from tlx.preprocessing import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(width: int = 50, height: int = 40, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(8, 90),
    st.integers(8, 90),
    st.integers(4, 48),
    st.sampled_from(["bilinear", "bicubic", "lanczos", "nearest"]),
    st.sampled_from([1.0, 0.95, 0.875, 0.5]),
)
def test_prepare_equals_torchvision(width: int, height: int, size: int, interpolation: str, crop: float) -> None:
    image = picture(width, height)
    reference = v2.Compose(
        [
            v2.Resize(round(size / crop), v2.InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop(size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    got = Prepare(Preprocessing(size, MEAN, STD, interpolation, crop))(image)
    assert got.shape == (3, size, size)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, reference(image), atol=2e-6, rtol=1e-5)


def test_mean_and_deviation_belong_to_their_channels() -> None:
    image = Image.new("RGB", (8, 8), (255, 128, 0))
    got = Prepare(Preprocessing(8, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0), "bilinear", 1.0))(image)[:, 0, 0]
    torch.testing.assert_close(got, torch.tensor([1.0, 128 / 255 - 0.25, 0.0]))


PREPARE = Prepare(Preprocessing(24, MEAN, STD, "bilinear", 1.0))
AUGMENTS: list[Augment] = [LightAugment(), StandardAugment(), StrongAugment(), StrongAugment(policy="rand")]


@pytest.mark.parametrize("augment", AUGMENTS, ids=lambda a: a.kind)
def test_a_view_is_a_function_of_seed_epoch_and_index(augment: Augment) -> None:
    views = {}
    for seed, epoch, index in np.ndindex(2, 3, 4):
        torch.manual_seed(random.randrange(1000))  # what was drawn before does not matter
        views[seed, epoch, index] = Draw(PREPARE, augment, seed)(picture(), epoch, index)
    assert len({view.numpy().tobytes() for view in views.values()}) == len(views)
    draw = Draw(PREPARE, augment, 1)
    for (seed, epoch, index), view in reversed(views.items()):
        if seed == 1:
            np.random.seed(0)
            random.seed(epoch)
            assert torch.equal(draw(picture(), epoch, index), view)


@pytest.mark.parametrize("augment", [*AUGMENTS, NoAugment()], ids=lambda a: a.kind)
def test_drawing_leaves_the_global_generators_alone(augment: Augment) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr]
    Draw(PREPARE, augment, 0)(picture(), 1, 2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[arg-type]
    assert random.getstate() == before[2]


def test_the_generator_is_put_back_even_when_a_step_fails() -> None:
    def broken(_: Image.Image) -> Image.Image:
        torch.rand(3)
        raise RuntimeError("broken")

    draw = Draw(PREPARE, LightAugment(), 0)
    draw.steps = [broken]  # type: ignore[list-item]
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="broken"):
        draw(picture(), 0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_augmentation_training_sees_what_testing_sees() -> None:
    assert torch.equal(Draw(PREPARE, NoAugment(), 0)(picture(), 3, 1), PREPARE(picture()))


def test_each_augmentation_does_what_it_says() -> None:
    whole = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0]}
    square = picture(24, 24)
    plain = PREPARE(square)

    def views(augment: Augment) -> list[torch.Tensor]:
        draw = Draw(PREPARE, augment, 0)
        return [draw(square, 0, index) for index in range(60)]

    assert all(torch.equal(view, plain) for view in views(LightAugment(**whole)))
    flipped = [torch.equal(v, plain.flip(2)) for v in views(StandardAugment(**whole, flip=0.5, jitter=0.0))]
    assert 15 < sum(flipped) < 45
    assert all(torch.equal(v, plain.flip(2)) for v in views(StandardAugment(**whole, flip=1.0, jitter=0.0)))
    jittered = views(StandardAugment(**whole, flip=0.0, jitter=0.2))
    assert sum(torch.equal(v, plain) for v in jittered) == 0
    assert all(float((v - plain).abs().mean()) < 1.0 for v in jittered)
    assert all(view.shape == (3, 24, 24) for view in jittered)


@pytest.mark.parametrize("wrong", [{"scale": [0.5]}, {"scale": [0.9, 0.2]}, {"ratio": [0.0, 1.0]}, {"ratio": []}])
def test_a_range_that_is_none_is_told(wrong: dict[str, list[float]]) -> None:
    for kind in (LightAugment, StandardAugment):
        with pytest.raises(InputError, match=f"augment.{next(iter(wrong))}=.* is no range"):
            Draw(PREPARE, kind(**wrong), 0)
