"""Jobs that take no time: what stands in for a training."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tlx.storage import write_json

TRAINS = ("train", "auto", "resume", "pretrain")  # verbs whose modules hold `train`
Job = Callable[[Any, Any], None]  # takes the config and the run folder


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job], list[dict[str, Any]]]:
    """Let every training call ``job`` and then write a result; returns the list that collects what each one saw."""

    def replace(job: Job) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def train(config: Any, folder: Any, clock: Any, command: str, **_: Any) -> dict[str, Any]:
            calls.append({"config": config, "folder": folder, "command": command, "argv": list(sys.argv)})
            job(config, folder)
            scores = {"accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 0.5, "loss": 1.0}
            result = {
                **dict.fromkeys(("case", "backbone", "init", "cut", "freeze"), "x"),
                "data": config.data.kind,
                "seed": config.seed,
                "metrics": dict.fromkeys(("train", "val", "test"), scores),
                "images": {"train": 1},
                "parameters": {"kept": 1, "trained": 1},
                "seconds": {"total": 1.0},
            }
            write_json(folder.result, result)
            return result

        # Imported before anything is replaced: who imports `train` by its name keeps what it found.
        for holder in [importlib.import_module(f"tlx.verbs.{verb}") for verb in TRAINS]:
            monkeypatch.setattr(holder, "train", train)
        return calls

    return replace
