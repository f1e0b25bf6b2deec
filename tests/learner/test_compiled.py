"""The compiled network: the same names, an exact resume, and a clear word where it does not work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.interrupting import RUN, Command, differences, interrupted_and_resumed, state_of
from tests.learner.small import Small
from tlx.errors import InputError
from tlx.learner import compiled
from tlx.learner.compiled import compile_forward
from tlx.learner.trial import Pace

CPU = torch.device("cpu")
FULL = Pace("32", "channels_last")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Trace as the real compiler does, and run what was traced without generating code, which takes a minute."""
    graphs = []

    def backend(graph: Any, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward  # type: ignore[no-any-return]

    torch.compiler.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    return graphs


def test_the_forward_pass_is_compiled_and_names_stay(traced: list[Any]) -> None:
    network = Small().network()
    names = list(network.state_dict())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.random.get_rng_state()
    compile_forward(network, 4, CPU, FULL)
    assert traced
    assert list(network.state_dict()) == names
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    plain = Small().network().eval()
    images = torch.randn(4, 3, 32, 32)
    count = len(traced)
    assert torch.allclose(network.eval()(images), plain(images), atol=1e-5)
    assert len(traced) > count  # eval mode is another graph


def test_a_compiled_run_resumes_exactly(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: list[Any]
) -> None:
    words = (*RUN, "trainer.compile=true")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    assert traced
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_where_it_does_not_work_that_is_said(tlx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    torch.compiler.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    with pytest.raises(InputError, match=r"trainer\.compile=true does not work with this network on this machine"):
        compile_forward(Small().network(), 4, CPU, FULL)
    answer = tlx(*RUN, "trainer.compile=true")
    assert answer.code == 2
    assert "leave trainer.compile=false" in answer.err


def test_what_is_compiled_is_the_batch_of_one_process(tlx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    def compiling(network: Any, batch: int, *_: Any) -> None:
        batches.append(batch)
        raise InputError("seen", "end here")

    monkeypatch.setattr("tlx.training.phases.compile_forward", compiling)
    assert tlx(*RUN, "trainer.compile=true").code == 2
    monkeypatch.setattr("pytorch_lightning.Trainer.world_size", 3)
    assert tlx(*RUN, "trainer.compile=true").code == 2
    assert batches == [12, 4]


@pytest.mark.slow
def test_the_real_compiler_trains_what_the_plain_network_trains(tlx: Command, tmp_path: Path) -> None:
    words = (*RUN[:-2], "augment=none", "callbacks.progress=false", "backbone.kwargs={zero_init_last: false}")
    assert tlx(*words, "hydra.run.dir=plain").code == 0
    answer = tlx(*words, "trainer.compile=true", "hydra.run.dir=compiled")
    assert answer.code == 0, answer.err
    plain, other = (state_of(tmp_path / name)["model"] for name in ("plain", "compiled"))
    assert plain.keys() == other.keys()
    assert all(torch.allclose(plain[n].float(), other[n].float(), rtol=1e-2, atol=5e-3) for n in plain)
