"""What nothing reads goes; what is read otherwise than through the graph stays."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tlx.network.trace import probe
from tlx.network.unread import Unread, drop_unread


def names(module: nn.Module) -> set[str]:
    return {n for n, _ in module.named_parameters()}


class Mixed(nn.Module):
    """Reads one branch of two; holds a module that never runs, a shared one, and parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.branches = nn.ModuleList([nn.Conv2d(4, 5, 1), nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6))])
        self.late = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.twice = self.late
        self.used = nn.Parameter(torch.ones(1))
        self.unused = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first, second = (branch(self.stem(images)) for branch in self.branches)
        del second
        return first * self.used


def test_what_never_runs_and_what_nobody_reads_goes() -> None:
    net = Mixed().train()
    before = probe(net, 8)
    assert len(names(net)) == 14
    drop_unread(net, 8)
    assert names(net) == {"stem.weight", "stem.bias", "branches.0.weight", "branches.0.bias", "used"}
    assert torch.equal(probe(net, 8), before)
    assert net.training
    images = torch.randn(3, 3, 8, 8)
    assert torch.equal(net(images), copy.deepcopy(net)(images))
    assert all(g is not None for g in torch.autograd.grad(net(images).sum(), list(net.parameters())))


def test_a_stand_in_returns_what_the_batch_needs() -> None:
    windows = Unread((4, 9, 8), 4)  # four windows an image
    assert windows(torch.ones(12, 9, 5)).shape == (12, 9, 8)
    assert Unread((1, 7), 1)(torch.ones(3, 5, dtype=torch.float64)).dtype == torch.float64
    assert Unread(None, 1)("anything") == "anything"


class Apart(nn.Module):
    """Computes outside the graph."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.second, self.never = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 4)
        self.bias = nn.Parameter(torch.ones(1))
        self.how = how

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                images = self.first(images) + self.bias
        else:
            images = self.first(images).detach() + self.bias.detach()
        return self.second(images)


@pytest.mark.parametrize("how", ["no_grad", "detach"])
def test_what_is_computed_outside_the_graph_stays(how: str) -> None:
    net = Apart(how)
    before = probe(net, 8)
    drop_unread(net, 8)
    assert torch.equal(probe(net, 8), before)
    assert {"first.weight", "first.bias", "second.weight", "bias"} <= names(net)


def test_frozen_parameters_are_read_all_the_same() -> None:
    net = Mixed()
    for parameter in net.parameters():
        parameter.requires_grad = False
    drop_unread(net, 8)
    assert len(names(net)) == 5
    assert not any(p.requires_grad for p in net.parameters())


def test_a_network_without_anything_unread_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    parts = list(net)
    drop_unread(net, 8)
    assert list(net) == parts
