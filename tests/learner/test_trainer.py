"""From config to a Lightning trainer: what is asked for is passed on, what the machine lacks is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tlx.config.groups import Trainer
from tlx.errors import InputError
from tlx.learner import trainer as trainers
from tlx.learner.checkpoints import AtomicCheckpointIO
from tlx.learner.trainer import SharedBatchNorms, make_trainer


def test_settings_reach_lightning(tmp_path: Path) -> None:
    trainer = make_trainer(Trainer(accelerator="cpu", max_epochs=7, accumulate=3, precision="bf16-mixed"), tmp_path)
    assert (trainer.max_epochs, trainer.accumulate_grad_batches, trainer.precision) == (7, 3, "bf16-mixed")
    assert trainer.gradient_clip_val == 1.0
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)
    assert trainer.checkpoint_callback is None  # Lightning's own writer is off
    assert not trainer.loggers


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("config", [Trainer(accelerator="gpu"), Trainer(accelerator="gpu", strategy="fsdp")])
def test_a_missing_gpu_is_told(config: Trainer) -> None:
    with pytest.raises(InputError, match="trainer=cpu"):
        make_trainer(config)


def test_an_impossible_number_of_devices_is_told() -> None:
    with pytest.raises(InputError, match="devices=0"):
        make_trainer(Trainer(accelerator="cpu", devices=0))


def test_several_gpus_share_batchnorms_in_our_way(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Trainer(accelerator="cpu", devices=2, strategy="ddp")
    assert make_trainer(config).strategy._layer_sync is None
    monkeypatch.setattr(trainers, "shares_batches", lambda _: True)
    assert isinstance(make_trainer(config).strategy._layer_sync, SharedBatchNorms)
