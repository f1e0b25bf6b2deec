"""Runs with every regularizer at once: exact when interrupted, and what is kept is what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tests.interrupting import RUN, Command, differences, interrupted_and_resumed, state_of
from tlx.learner.anchor import Anchor
from tlx.learner.average import Average
from tlx.storage import read_checkpoint, read_tensors, write_tensors

# Weight averaging, mixed batches, decay towards the pretrained weights and stochastic depth, all at once.
REGULARIZED = (
    "regularizer.ema=0.8", "regularizer.l2_sp=0.1", "regularizer.drop_path=0.3", "regularizer.label_smoothing=0.1",
    "augment.mixup=0.4", "augment.cutmix=1.0", "init=pretrained", "init.file=pretrained.safetensors",
    "backbone.kwargs={drop_rate: 0.2, zero_init_last: false}", "data.balance=weights",
)  # fmt: skip


def regularized(*words: str) -> tuple[str, ...]:
    """Write the weights to start from into the working folder; return the command line."""
    model = timm.create_model("test_resnet", zero_init_last=False)
    write_tensors(Path("pretrained.safetensors"), model.state_dict())
    replaced = ("init=scratch", "backbone.kwargs")
    return (*(word for word in RUN if not word.startswith(replaced)), *REGULARIZED, *words)


def held(folder: Path) -> dict[str, Any]:
    """What regularizers keep in the last checkpoint of each phase."""
    found = {path.parent.name: read_checkpoint(path) for path in (folder / "checkpoints").rglob("last.ckpt")}
    return {phase: {part: found[phase][part] for part in ("anchor", "average")} for phase in found}


@pytest.mark.parametrize(
    ("step", "hook", "more"),
    [
        (7, "on_train_batch_end", ()),
        (8, "on_validation_batch_end", ()),
        (2, "on_train_epoch_end", ()),
        (6, "on_train_batch_end", ("freeze=gradual", "trainer.accumulate=2")),
        (7, "on_train_batch_end", ("freeze=lora", "freeze.rank=2", "features=off")),
        (19, "on_train_batch_end", ("freeze=lp_ft", "features=off")),  # in the second epoch of the second phase
    ],
)
def test_resume_is_exact_with_every_regularizer(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, hook: str, more: tuple[str, ...]
) -> None:
    words = regularized(*more)
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, hook)
    assert differences(state_of(tmp_path / "whole"), resumed) == []
    whole, broken = (held(tmp_path / folder) for folder in ("whole", "broken"))
    assert differences(whole, broken) == []
    pretrained = read_tensors(tmp_path / "pretrained.safetensors")
    anchors = {
        n.removeprefix("trunk.model."): t
        for n, t in whole["finetune" if "finetune" in whole else "train"]["anchor"].items()
    }
    assert ("freeze=lora" in more) == (not anchors)  # there, what is pretrained stays as it is
    assert all(torch.equal(tensor, pretrained[name]) for name, tensor in anchors.items())


def test_the_average_of_the_best_epoch_is_what_a_run_keeps(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*regularized("trainer.max_epochs=1"), "hydra.run.dir=run").code == 0
    state = state_of(tmp_path / "run")
    averages = held(tmp_path / "run")["train"]["average"]["tensors"]
    assert averages.keys() >= {name for name, t in state["model"].items() if t.is_floating_point()}
    assert not differences({n: t for n, t in state["model"].items() if n in averages}, averages)
    live = {name.removeprefix("network."): tensor for name, tensor in state["phases"]["train"]["state_dict"].items()}
    assert any(not torch.equal(averages[name], live[name]) for name in averages)


@pytest.mark.parametrize("part", [Anchor, Average])
def test_a_regularizer_that_forgets_is_noticed(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: type[Anchor | Average]
) -> None:
    """Negative control: an anchor at the interrupted weights, an average that starts from them."""
    words = regularized()
    assert tlx(*words, "hydra.run.dir=whole").code == 0

    def forgetting(self: Anchor | Average, state: dict[str, Any]) -> None:
        if isinstance(self, Anchor):
            self.start = {name: tensor + 0.01 for name, tensor in state.items()}

    monkeypatch.setattr(part, "load_state_dict", forgetting)
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 7, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole")["model"], resumed["model"])


@pytest.mark.parametrize("init", ["scratch", "race"])
def test_there_is_no_way_back_to_random_weights(tlx: Command, init: str) -> None:
    answer = tlx(*(word for word in RUN if not word.startswith("init=")), f"init={init}", "regularizer.l2_sp=0.1")
    assert answer.code == 2
    assert f"regularizer.l2_sp pulls towards pretrained weights, and init={init} trains random ones" in answer.err
