"""A trial changes nothing but its copy, and its choice is a function of the seconds that it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.learner.small import Small
from tlx.config import groups as g
from tlx.learner.trial import Pace, Step, chosen, inference_steps, timed, training_steps
from tlx.network.freeze import Freeze
from tlx.network.network import Network

CPU = torch.device("cpu")
FULL, ORDER, HALF, BOTH = PACES = [
    Pace(precision, order) for precision in ("32", "bf16-mixed") for order in ("channels_last", "contiguous")
]


def training(network: Network) -> Callable[[Pace], Step]:
    return training_steps(network, replace(Small().phase, optimizer=g.AdamW(lr="auto")), 4, CPU, 1.0)


def inference(network: Network) -> Callable[[Pace], Step]:
    return inference_steps(network, 4, CPU)


@pytest.mark.parametrize("steps", [training, inference])
@pytest.mark.parametrize("policy", [g.NoFreeze(), g.LastFreeze(stages=1), g.GradualFreeze()], ids=lambda p: p.kind)
def test_nothing_but_a_copy_is_touched(steps: Callable[[Network], Callable[[Pace], Step]], policy: Freeze) -> None:
    network = Small(policy=policy).network().train()  # with dropout and drop-path, which draw
    tensors = {name: (t.clone(), t.stride()) for name, t in network.state_dict().items()}
    awake = {name: p.requires_grad for name, p in network.named_parameters()}
    modes = [module.training for module in network.modules()]
    state = torch.random.get_rng_state()
    seconds = timed(PACES, steps(network), CPU)
    assert set(seconds) == set(PACES)
    assert all(0 < taken < 60 for taken in seconds.values())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert awake == {name: p.requires_grad for name, p in network.named_parameters()}
    assert modes == [module.training for module in network.modules()]
    assert all(p.grad is None for p in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(after[name], t) and after[name].stride() == s for name, (t, s) in tensors.items())


def test_a_trial_on_the_network_itself_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without the copy, BatchNorms see the trial's images."""
    monkeypatch.setattr("tlx.learner.trial.deepcopy", lambda network: network)
    network = Small().network()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    timed([FULL], training(network), CPU)
    assert not all(torch.equal(before[name], t) for name, t in network.state_dict().items())


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({FULL: 1.0, ORDER: 1.0, HALF: 1.0, BOTH: 1.0}, FULL),
        ({FULL: 1.0, ORDER: 0.97, HALF: 0.95, BOTH: 0.92}, FULL),  # neither is clear
        ({FULL: 1.0, ORDER: 0.9, HALF: 0.95, BOTH: 0.95}, ORDER),
        ({FULL: 1.0, ORDER: 1.2, HALF: 0.5, BOTH: 0.6}, HALF),
        ({FULL: 1.0, ORDER: 0.5, HALF: 0.48, BOTH: 0.6}, ORDER),  # against the best of full precision
        ({FULL: 1.0, ORDER: 1.2, HALF: 0.5, BOTH: 0.4}, BOTH),
        ({FULL: 1.0, ORDER: 1.2, HALF: 0.41, BOTH: 0.4}, HALF),  # the usual format, where it is as good
        ({FULL: 1.0, ORDER: 1.2}, FULL),  # no kernels in bf16
        ({HALF: 1.0, BOTH: 0.99}, HALF),  # no memory in full precision
        ({}, FULL),
    ],
)
def test_what_is_usual_is_given_up_for_a_clear_gain_alone(seconds: dict[Pace, float], best: Pace) -> None:
    assert chosen(seconds, FULL) == best


def test_what_fails_or_is_not_finite_is_left_out() -> None:
    def steps(pace: Pace) -> Step:
        def step() -> torch.Tensor:
            if pace == HALF:
                raise RuntimeError("no kernel for BFloat16")
            return torch.tensor(float("nan") if pace == BOTH else 1.0)

        return step

    assert set(timed(PACES, steps, CPU)) == {FULL, ORDER}


def test_a_bug_in_a_step_is_no_slow_pace() -> None:
    def steps(_: Pace) -> Step:
        raise TypeError

    with pytest.raises(TypeError):
        timed(PACES, steps, CPU)


@pytest.mark.parametrize("steps", [training, inference])
def test_no_memory_for_the_copy_leaves_the_usual_pace(
    steps: Callable[[Network], Callable[[Pace], Step]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def copying(_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("tlx.learner.trial.deepcopy", copying)
    seconds = timed(PACES, steps(Small().network()), CPU)
    assert seconds == {}
    assert chosen(seconds, FULL) == FULL
