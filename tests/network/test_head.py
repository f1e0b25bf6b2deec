"""Heads: pooling for every layout, and the new layer."""

from __future__ import annotations

import pytest
import torch

from tlx.config.groups import LinearHead
from tlx.network.head import Head, Pool


@pytest.mark.parametrize(
    ("layout", "prefix", "shape", "mean"),
    [
        ("vector", 0, (2, 5), lambda x: x),
        ("NCHW", 0, (2, 5, 3, 4), lambda x: x.sum((2, 3)) / 12),
        ("NCHW", 1, (2, 5, 3, 4), lambda x: x.sum((2, 3)) / 12),  # a map holds no prefix tokens
        ("NHWC", 0, (2, 3, 4, 5), lambda x: x.sum((1, 2)) / 12),
        ("NLC", 0, (2, 7, 5), lambda x: x.sum(1) / 7),
        ("NLC", 3, (2, 7, 5), lambda x: (x[:, 3] + x[:, 4] + x[:, 5] + x[:, 6]) / 4),
    ],
)
def test_pooling_averages_over_the_image_alone(layout: str, prefix: int, shape: tuple[int, ...], mean: object) -> None:
    features = torch.randn(shape)
    pooled = Pool(layout, prefix)(features)
    assert pooled.shape == (2, 5)
    torch.testing.assert_close(pooled, mean(features))  # type: ignore[operator]


def test_the_layer_is_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(0)
    one, same, other = (Head(LinearHead(), "vector", 0, 4000, 10, seed) for seed in (1, 1, 2))
    assert torch.equal(one.linear.weight, same.linear.weight)
    assert not torch.equal(one.linear.weight, other.linear.weight)
    assert abs(float(one.linear.weight.detach().std()) - 0.01) < 2e-4
    assert float(one.linear.bias.detach().abs().max()) == 0


def test_dropout_acts_in_training_alone() -> None:
    head = Head(LinearHead(dropout=0.5), "vector", 0, 64, 3, 0)
    features = torch.randn(4, 64)
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head.classify(head.pool(features)))
    torch.testing.assert_close(head(features), features @ head.linear.weight.T)
