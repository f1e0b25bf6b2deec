"""The average: three steps by hand, what it leaves alone, and that it goes in and out without a trace."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.learner.small import Small
from tlx.config import groups as g
from tlx.learner.average import Average
from tlx.network.fingerprint import hashed
from tlx.network.network import Network
from tlx.storage import read_checkpoint, write_checkpoint


class Toy(nn.Module):
    """What an average asks of a network: one weight that trains, one that does not, a mask, a sleeping BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 10.0]))
        self.still = nn.Parameter(torch.tensor([5.0]))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf, torch.inf]))
        self.register_buffer("count", torch.tensor(7))
        self.norm = nn.BatchNorm1d(2)
        self.trained = frozenset({"weight"})
        self.asleep = [self.norm]

    frozen_tensors = Network.frozen_tensors


def begun(decay: float = 0.5) -> tuple[Toy, Average]:
    toy = Toy()
    average = Average(toy, decay)  # type: ignore[arg-type]
    average.begin()
    return toy, average


def moved(network: nn.Module, seed: int) -> None:
    """Change every tensor, frozen or not."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(torch.randint(1, 9, tensor.shape, generator=generator).to(tensor))


def test_three_steps_by_hand() -> None:
    toy, average = begun()
    expected = torch.tensor([1.0, 10.0])
    for value, decay in (([2.0, 0.0], 1 / 10), ([4.0, -4.0], 2 / 11), ([0.0, 8.0], 3 / 12)):
        with torch.no_grad():
            toy.weight.copy_(torch.tensor(value))
        average.update()
        expected = decay * expected + (1 - decay) * torch.tensor(value)
        torch.testing.assert_close(average.tensors["weight"], expected)
    assert float(expected[0]) == pytest.approx(0.25 * (2 / 11 * 1.9 + 9 / 11 * 4))  # all of it written out


def test_the_decay_rises_to_what_was_asked_for_and_no_further() -> None:
    toy, average = begun(0.5)
    with torch.no_grad():
        toy.weight.zero_()
    values = [average.tensors["weight"][0].item()]
    for _ in range(20):
        average.update()
        values.append(average.tensors["weight"][0].item())
    ratios = [later / earlier for earlier, later in pairwise(values)]
    assert ratios == pytest.approx([min(0.5, (1 + t) / (10 + t)) for t in range(20)])


def test_only_what_trains_and_floating_buffers_of_what_is_awake_are_averaged() -> None:
    toy, average = begun()
    assert set(average.tensors) == {"weight", "mask"}
    toy.asleep = []
    average.begin()
    assert set(average.tensors) == {"weight", "mask", "norm.running_mean", "norm.running_var"}


def test_an_infinity_stays_one() -> None:
    toy, average = begun()
    average.update()
    assert average.tensors["mask"].tolist() == [0.0, -torch.inf, torch.inf]
    moved(toy, 0)
    toy.mask[0] = 3.0
    average.update()
    assert average.tensors["mask"][0] == pytest.approx(3 * 9 / 11)


def test_what_sleeps_again_is_forgotten_and_what_wakes_starts_from_what_it_is() -> None:
    toy, average = begun()
    moved(toy, 0)
    average.update()
    before = average.tensors["weight"].clone()
    toy.trained = frozenset({"weight", "still"})
    average.begin()
    assert torch.equal(average.tensors["weight"], before)
    assert torch.equal(average.tensors["still"], toy.still)
    toy.trained = frozenset({"still"})
    average.begin()
    assert "weight" not in average.tensors


@pytest.mark.parametrize("policy", [g.NoFreeze(), g.UptoFreeze(stage=1), g.NoFreeze(batch_statistics="frozen")])
def test_it_goes_in_and_out_bit_for_bit_and_never_touches_what_is_frozen(policy: g.NoFreeze | g.UptoFreeze) -> None:
    network = Small(policy=policy).network()
    average = Average(network, 0.9)
    average.begin()
    moved_awake(network)
    average.update()
    state, averages = hashed(network.state_dict()), hashed(average.tensors)
    frozen = hashed(network.frozen_tensors())
    with average.swapped_in():
        inside = hashed(network.state_dict())
        assert {n: inside[n] for n in averages} == averages
        assert hashed(network.frozen_tensors()) == frozen
        assert {n for n in inside if inside[n] != state[n]} == {n for n in averages if averages[n] != state[n]} != set()
    assert hashed(network.state_dict()) == state
    assert hashed(average.tensors) == averages
    with pytest.raises(ZeroDivisionError), average.swapped_in():
        raise ZeroDivisionError
    assert hashed(network.state_dict()) == state
    assert (len(frozen) == 0) == (policy == g.NoFreeze())


def moved_awake(network: Network) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in network.trained:
                parameter += 0.1


def test_it_goes_in_and_out_where_validation_runs() -> None:
    """Lightning validates in inference mode, whose tensors take no gradients."""
    network = Small().network()
    average = Average(network, 0.9)
    average.begin()
    moved_awake(network)
    average.update()
    with torch.inference_mode():
        average.exchange()
        average.exchange()
    assert not any(t.is_inference() for t in (*average.tensors.values(), *network.state_dict().values()))
    network(torch.randn(2, 3, 32, 32)).sum().backward()


def test_its_state_is_plain_and_goes_on_exactly(tmp_path: Path) -> None:
    toy, average = begun(0.9)
    other, again = begun(0.9)
    for seed in range(5):
        moved(toy, seed)
        average.update()
        if seed == 2:
            write_checkpoint(tmp_path / "a.ckpt", {"average": average.state_dict()})
    again.load_state_dict(read_checkpoint(tmp_path / "a.ckpt")["average"])
    for seed in range(5):
        moved(other, seed)
        if seed == 2:
            again.begin()  # as when a run goes on: what was loaded stays, although the weights are others
        if seed > 2:
            again.update()
    assert again.steps == average.steps == 5
    assert hashed(again.tensors) == hashed(average.tensors)
