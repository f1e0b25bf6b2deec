"""The anchor: its gradient is the way from the start, over what trains of the trunk and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.learner.small import Small
from tlx.config import groups as g
from tlx.config.roots import Freeze
from tlx.learner.anchor import Anchor
from tlx.network.freeze import phases, trained
from tlx.network.lora import attach, is_adapter
from tlx.network.network import Network
from tlx.storage import read_checkpoint, write_checkpoint


def moved(network: Network) -> dict[str, torch.Tensor]:
    """Move every parameter; return how far."""
    generator = torch.Generator().manual_seed(0)
    ways = {n: torch.randn(p.shape, generator=generator) for n, p in network.named_parameters()}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter += ways[name]
    return ways


def value(anchor: Anchor) -> float:
    with torch.no_grad():
        return float(anchor.penalty())


@pytest.mark.parametrize("policy", [g.NoFreeze(), g.UptoFreeze(stage=1), g.BiasFreeze()])
def test_the_gradient_is_the_strength_times_the_way(policy: Freeze) -> None:
    network = Small(policy=policy).network()
    anchor = Anchor(network, network.trained, 0.3)
    assert value(anchor) == 0.0
    start = {n: p.detach().clone() for n, p in network.named_parameters()}
    moved(network)
    penalty = anchor.penalty()
    assert isinstance(penalty, torch.Tensor)
    penalty.backward()
    awake = {n for n in network.trained if n.startswith("trunk.")}
    parameters = {n: p.detach() for n, p in network.named_parameters() if n in awake}
    naive = sum(0.5 * 0.3 * float(((p - start[n]) ** 2).sum()) for n, p in parameters.items())
    assert float(penalty.detach()) == pytest.approx(naive, rel=1e-5)
    for name, parameter in network.named_parameters():
        if name in awake:
            torch.testing.assert_close(parameter.grad, 0.3 * (parameter - start[name]), msg=name)
        else:
            assert parameter.grad is None, name
    assert 0 < len(awake) < len(start)


def test_what_does_not_train_yet_is_left_alone() -> None:
    network = Small(policy=g.GradualFreeze(every=1)).network()
    ever = network.trained_in(9)
    anchor = Anchor(network, ever, 1.0)
    moved(network)
    network.set_epoch(0)
    assert value(anchor) == 0.0
    values = []
    for epoch in (1, 2):
        network.set_epoch(epoch)
        values.append(value(anchor))
    assert 0 < values[0] < values[1]


def test_adapters_have_no_pretrained_weights() -> None:
    network = Small().network()
    attach(network.trunk.model, g.LoraFreeze(rank=2), seed=0)
    names = {n for n, _ in network.named_parameters()}
    assert any(map(is_adapter, names))
    anchor = Anchor(network, names, 1.0)
    assert set(anchor.start) == {n for n in names if n.startswith("trunk.") and not is_adapter(n)}


def test_a_start_that_is_loaded_takes_the_place_of_where_a_resumed_run_begins(tmp_path: Path) -> None:
    network = Small().network()
    anchor = Anchor(network, network.trained, 1.0)
    write_checkpoint(tmp_path / "a.ckpt", {"anchor": anchor.state_dict()})
    moved(network)
    expected = value(anchor)
    resumed = Anchor(network, network.trained, 1.0)
    assert value(resumed) == 0.0  # what the file is for
    resumed.load_state_dict(read_checkpoint(tmp_path / "a.ckpt")["anchor"])
    assert value(resumed) == expected > 0


@pytest.mark.parametrize("policy", [g.LpFtFreeze(), g.SurgicalFreeze()])
def test_no_phase_but_the_last_trains_the_trunk_so_that_every_start_is_pretrained(policy: Freeze) -> None:
    network = Small(policy=policy).network()
    names = phases(policy)
    assert len(names) > 1
    for index in range(len(names) - 1):
        assert trained(policy, network.anatomy, 0, index) == set(network.anatomy.head)
