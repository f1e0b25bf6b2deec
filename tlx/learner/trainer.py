"""From the trainer's config to a Lightning trainer: devices, precision, processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import LayerSync
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.config.groups import Trainer
from tlx.errors import InputError
from tlx.learner.checkpoints import AtomicCheckpointIO
from tlx.network.batch_norms import separate, synchronise

PRECISIONS = {"32": "32-true", "auto": "32-true"}  # auto is settled before a training; without one, it is 32


def make_trainer(
    config: Trainer, folder: Path | None = None, logger: Logger | None = None, varies: bool = False
) -> pl.Trainer:
    """Create a Lightning trainer that prints and saves nothing by itself, and logs to ``logger`` alone.

    ``varies``: what trains changes from epoch to epoch, so that processes must look which gradients there are.

    Raises:
        InputError: Devices that this machine does not have, a precision that they do not offer.
    """
    try:
        return pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy="ddp_find_unused_parameters_true" if varies and _spread(config) else config.strategy,
            precision=PRECISIONS.get(config.precision, config.precision),  # type: ignore[arg-type]
            max_epochs=config.max_epochs,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.gradient_clip,
            default_root_dir=folder,
            plugins=[AtomicCheckpointIO(), *([SharedBatchNorms()] if shares_batches(config) else [])],
            logger=logger or False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the order of the data is ours
            num_sanity_val_steps=0,
            log_every_n_steps=1,  # what is logged is logged once an epoch
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        asked = f"trainer.accelerator={config.accelerator} devices={config.devices} precision={config.precision}"
        raise InputError(f"{asked}: {str(error).splitlines()[0]}", "choose trainer=auto or trainer=cpu") from None


def meet(trainer: pl.Trainer) -> None:
    """Start a run's other processes and wait until all are there; from then on they can ask and answer each other.

    Lightning starts them when it first has to, and until then leaves every question to the process that asks.
    """
    if trainer.world_size > 1 and not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        one_each: DataLoader[Any] = DataLoader(TensorDataset(torch.zeros(1)))
        trainer.predict(_Nothing(), one_each, return_predictions=False)


class _Nothing(pl.LightningModule):
    """Does nothing, in every process."""

    def predict_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the batch."""
        return batch[0]


class SharedBatchNorms(LayerSync):
    """Lets BatchNorms see the batch of all processes while a network trains, as Lightning's ``sync_batchnorm`` does.

    That one puts plain modules in their place: timm's lose their activation, and the network what it knows of them.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Let BatchNorms see the whole batch."""
        synchronise(model)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Let them see this process's part again."""
        separate(model)
        return model


def shares_batches(config: Trainer) -> bool:
    """Whether BatchNorm can and should see the whole batch: it synchronises between GPUs only."""
    spread = config.devices not in (1, "1") and (config.strategy != "auto" or torch.cuda.device_count() > 1)
    return spread and config.accelerator in ("auto", "gpu") and torch.cuda.is_available()


def _spread(config: Trainer) -> bool:
    """Whether several processes train together."""
    several = config.devices not in (1, "1")
    return several and (config.strategy == "ddp" or (config.strategy == "auto" and torch.cuda.device_count() > 1))
