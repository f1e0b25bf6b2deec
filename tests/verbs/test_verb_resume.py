"""Interrupted by a real signal, resumed, and bit for bit where the uninterrupted run is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import TINY, Answer
from tlx.data.order import Order
from tlx.learner.checkpoints import Checkpoints
from tlx.storage import read_checkpoint, read_tensors

Command = Callable[..., Answer]
# 40 training images in batches of 12: four steps an epoch (the tail of four stays), three epochs; BatchNorm, dropout
# and drop-path in the network, random crops, flips and colours in the data.
RUN = (
    "case=large_similar", *TINY, "data=digits", "data.per_class=4", "data.batch_size=12", "trainer.max_epochs=3",
    "augment=standard", "backbone.kwargs={drop_path_rate: 0.2, drop_rate: 0.2}", "callbacks.progress=false",
)  # fmt: skip


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, hook: str, number: signal.Signals) -> None:
    """Send this process a signal when the hook has been called so many times."""
    original = getattr(Checkpoints, hook)
    seen = 0

    def sending(self: Checkpoints, *args: Any, **kwargs: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == steps:
            os.kill(os.getpid(), number)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Checkpoints, hook, sending)


def state_of(folder: Path) -> dict[str, Any]:
    """Collect everything that must be identical: weights, optimizer, schedule, history, results."""
    checkpoint = read_checkpoint(folder / "checkpoints" / "train" / "last.ckpt")
    result = json.loads((folder / "result.json").read_text())
    return {
        "state": checkpoint["state_dict"],
        "optimizer": checkpoint["optimizer_states"],
        "schedule": checkpoint["lr_schedulers"],
        "callbacks": checkpoint["callbacks"],
        "model": dict(read_tensors(folder / "model" / "weights.safetensors")),
        "metrics": result["metrics"],
        "fingerprints": result["fingerprints"],
        "csv": (folder / "metrics.csv").read_text(),
    }


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Name every place where two nested states are not the same, bit for bit."""
    if isinstance(a, torch.Tensor):
        return [] if isinstance(b, torch.Tensor) and torch.equal(a, b) else [where]
    if isinstance(a, dict):
        return [where] if a.keys() != b.keys() else [d for k in a for d in differences(a[k], b[k], f"{where}/{k}")]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [where]
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{where}/{i}")]
    return [] if a == b else [f"{where}: {a} is not {b}"]


def interrupted_and_resumed(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], step: int, hook: str
) -> dict[str, Any]:
    with monkeypatch.context() as patched:
        interrupt_after(patched, step, hook, signal.SIGTERM)
        answer = tlx(*words, "hydra.run.dir=broken")
    assert answer.code == 143
    command = answer.err.strip().splitlines()[-1]
    assert command.endswith("python -m tlx resume run=broken")
    assert not (tmp_path / "broken" / "result.json").exists()
    resumed = tlx("resume", "run=broken")
    assert resumed.code == 0, resumed.err
    return state_of(tmp_path / "broken")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("step", "hook"),
    [
        (1, "on_train_batch_end"),  # the first step
        (4, "on_train_batch_end"),  # the last of the first epoch
        (7, "on_train_batch_end"),  # inside the second
        (8, "on_validation_batch_end"),  # in a validation
        (2, "on_train_epoch_end"),  # between epochs
    ],
)
def test_resume_is_exact(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, step: int, hook: str
) -> None:
    words = (*RUN, f"data.workers={workers}")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, hook)
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_resume_is_exact_with_a_frozen_trunk_and_accumulation(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUN, "freeze=trunk", "trainer.accumulate=2")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_an_order_that_is_replayed_is_noticed(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an order that forgets where the run stopped makes the comparison above fail."""
    assert tlx(*RUN, "hydra.run.dir=whole").code == 0
    monkeypatch.setattr(Order, "start", property(lambda _: (0, 0), lambda _, __: None), raising=False)
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, RUN, 7, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed)


def test_sigint_ends_with_130(tlx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 2, "on_train_batch_end", signal.SIGINT)
    answer = tlx(*RUN)
    assert answer.code == 130
    assert "interrupted by SIGINT" in answer.err
    assert "Traceback" not in answer.err


def test_a_signal_before_anything_is_saved_leaves_a_run_that_resumes(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx.training import phases

    def killed(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)

    assert tlx("case=small_similar", *TINY, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        patched.setattr(phases, "solve", killed)
        assert tlx("case=small_similar", *TINY, "hydra.run.dir=broken").code == 143
    assert tlx("resume", "run=broken").code == 0
    whole, again = (json.loads((tmp_path / f / "result.json").read_text()) for f in ("whole", "broken"))
    assert whole["fingerprints"] == again["fingerprints"]
    assert whole["metrics"] == again["metrics"]


def test_resume_extends_a_finished_run_and_says_what_happens_to_the_schedule(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*RUN, "hydra.run.dir=run").code == 0
    finished = tlx("resume", "run=run")
    assert finished.code == 0
    assert "nothing is left to do" in finished.out
    extended = tlx("resume", "run=run", "trainer.max_epochs=5")
    assert extended.code == 0
    assert "3 epochs become 5" in extended.out
    assert "stretched" in extended.out
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 6
    assert json.loads((tmp_path / "run" / "config.json").read_text())["trainer"]["max_epochs"] == 5


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("optimizer.lr=1",), "optimizer.lr"),
        (("freeze=none",), "freeze"),
        (("trainer.max_epochs=2",), "trainer.max_epochs=2"),
        (("trainer.precision=16-mixed",), "trainer.precision"),
    ],
)
def test_resume_refuses_what_would_change_the_result(tlx: Command, words: tuple[str, ...], named: str) -> None:
    assert tlx(*RUN, "hydra.run.dir=run").code == 0
    answer = tlx("resume", "run=run", *words)
    assert answer.code == 2
    assert named in answer.err


def test_resume_of_no_run(tlx: Command) -> None:
    answer = tlx("resume", "run=nowhere")
    assert answer.code == 2
    assert "nowhere holds no run" in answer.err
    assert tlx("resume").code == 2
