"""Probabilities are those of the logits at the model's temperature, averaged over views."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tlx.network.probabilities import Probabilities

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Head(nn.Module):
    """A matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.num_classes = nn.Linear(6, 4), 4

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.linear(pooled)  # type: ignore[no-any-return]


class Network(nn.Module):
    """Pools by halves of the image, so that a mirror image is another."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Head()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[3] // 2
        return torch.cat([images[..., :half].mean((2, 3)), images[..., half:].mean((2, 3))], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head.classify(self.embed(images))


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    seen = SimpleNamespace(mean=MEAN, std=STD)
    return SimpleNamespace(network=Network().eval(), temperature=0.5, preprocessing=seen)


def pixels(views: int = 1, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, views, 8, 8, 3), generator=generator, dtype=torch.uint8)


def expected(model: Any, given: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    images = (given.permute(0, 3, 1, 2) / 255 - mean) / std
    return (model.network(images) / model.temperature).softmax(1)


@torch.no_grad()
def test_they_are_those_of_the_logits_at_the_temperature(model: Any) -> None:
    given = pixels()
    likely = Probabilities(model, 4).predict_step({"pixels": given}, 0)
    shares = expected(model, given[:, 0])
    torch.testing.assert_close(likely.probabilities, shares.sort(1, descending=True).values)
    assert torch.equal(likely.classes[:, 0], shares.argmax(1))
    assert likely.features.shape == (3, 0)
    model.temperature = 2.0
    cooler = Probabilities(model, 2).predict_step({"pixels": given}, 0)
    assert cooler.probabilities.shape == (3, 2)
    assert (cooler.probabilities[:, 0] < likely.probabilities[:, 0]).all()


@torch.no_grad()
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("views", [1, 5])
def test_of_several_views_they_are_the_mean(model: Any, views: int, mirrored: bool) -> None:
    given = pixels(views)
    likely = Probabilities(model, 4, mirrored, embeds=True).predict_step({"pixels": given}, 0)
    all_of_them = [given[:, view] for view in range(views)]
    all_of_them += [view.flip(2) for view in all_of_them] if mirrored else []
    shares = torch.stack([expected(model, view) for view in all_of_them]).mean(0)
    torch.testing.assert_close(likely.probabilities, shares.sort(1, descending=True).values)
    assert likely.features.shape == (3, 6)
    if mirrored or views > 1:  # the control: one view says something else
        assert not torch.allclose(shares, expected(model, given[:, 0]), atol=1e-4)


@torch.no_grad()
def test_no_image_is_no_row_and_infinite_outputs_stay_so(model: Any) -> None:
    nothing = Probabilities(model, 4, embeds=True).predict_step({"pixels": pixels(count=3)[:0]}, 0)
    assert [len(part) for part in nothing] == [0, 0, 0]
    model.network.head.linear.bias[0] = float("inf")
    assert not Probabilities(model, 4).predict_step({"pixels": pixels()}, 0).probabilities.isfinite().any()
