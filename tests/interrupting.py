"""Interrupting a run by a real signal, resuming it, and comparing every bit."""

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
    files = sorted((folder / "checkpoints").rglob("last.ckpt"))
    result = json.loads((folder / "result.json").read_text())
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "certificate")
    return {
        "phases": {path.parent.name: {part: read_checkpoint(path)[part] for part in parts} for path in files},
        "certificate": result["certificate"],
        "decisions": result["decisions"],
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
