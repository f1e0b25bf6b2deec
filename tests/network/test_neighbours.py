"""Neighbours: the search is exact however it is cut into blocks, and a saved head predicts the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tlx.config.groups import HeadCut, LinearHead, NeighboursHead, ScratchInit, TimmBackbone, TrunkFreeze
from tlx.network import model_folder, neighbours
from tlx.network import network as networks
from tlx.network.head import Head
from tlx.network.neighbours import search
from tlx.network.network import Network

CONFIG = NeighboursHead(k=3, temperature=0.1, sharpness=2.0, rows=40)


def filled(network: Network, config: NeighboursHead = CONFIG) -> Head:
    """Make a head of random neighbours, none of them of class 2."""
    generator = torch.Generator().manual_seed(0)
    head = Head(config, network.trunk.layout, network.trunk.prefix, network.trunk.width, 4, 0)
    rows = F.normalize(torch.randn(config.rows, network.trunk.width, generator=generator), dim=1)
    labels = torch.tensor([0, 1, 3])[torch.randint(3, (config.rows,), generator=generator)]
    head.neighbours.fill(rows, labels, torch.rand(config.rows, generator=generator) + 0.5)
    return head


def build() -> tuple[Network, networks.Preprocessing]:
    network, seen, _ = networks.build(
        TimmBackbone(name="test_resnet"), ScratchInit(), HeadCut(), TrunkFreeze(), LinearHead(), 4, 0, 32
    )
    return network, seen


@pytest.mark.parametrize("k", [1, 7, 100])
def test_the_search_finds_the_nearest_in_any_block(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, queries = F.normalize(torch.randn(100, 8), dim=1), torch.randn(23, 8)
    exact = (F.normalize(queries, dim=1) @ rows.T).sort(1, descending=True)
    monkeypatch.setattr(neighbours, "QUERIES", 5)
    for block in (1, 6, 99, 1000):
        monkeypatch.setattr(neighbours, "ROWS", block)
        cosines, indices = search(rows, queries, k)
        torch.testing.assert_close(cosines, exact.values[:, :k])
        assert torch.equal(indices, exact.indices[:, :k])
        assert k == 100 or not torch.equal(indices, exact.indices[:, -k:])


def test_a_saved_head_of_neighbours_predicts_the_same_bits(tmp_path: Path) -> None:
    network, seen = build()
    network.replace_head(filled(network))
    network.eval()
    images = torch.randn(5, 3, 32, 32)
    expected = network(images)
    assert (expected[:, 2] == neighbours.NEVER).all()
    model_folder.save(tmp_path, network, TimmBackbone(name="test_resnet"), network.head.config, seen, list("abcd"))
    loaded = model_folder.load(tmp_path)[0]
    assert torch.equal(loaded(images), expected)
    assert not torch.equal(loaded(images + 1), expected)
    loaded.head.neighbours.labels[:] = 0  # the negative control
    assert not torch.equal(loaded(images), expected)


def test_nothing_trains_in_a_network_whose_head_votes() -> None:
    network, _ = build()
    assert network.trained
    network.replace_head(filled(network))
    assert network.trained == frozenset()
    assert network.trunk_frozen
    network.train()
    assert not any(module.training for module in network.trunk.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.head.solvable
    assert network.head.words == "the votes of 40 training images"


def test_votes_bear_mixed_precision_as_they_are() -> None:
    network, _ = build()
    head, features = filled(network), torch.randn(6, network.trunk.width).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        logits = head.classify(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, head.classify(features.float()))


def test_a_vote_that_counts_more_says_more() -> None:
    network, _ = build()
    head, features = filled(network), torch.randn(50, network.trunk.width)
    before = head.classify(features).softmax(1)[:, 0].mean()
    head.neighbours.votes[head.neighbours.labels == 0] *= 5
    assert head.classify(features).softmax(1)[:, 0].mean() > before + 0.05
