"""The LightningModule: steps, metrics, parameter groups."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tlx.config.groups import Regularizer
from tlx.data.module import Batch
from tlx.errors import NumericalError
from tlx.learner.certificate import Certificate
from tlx.learner.metrics import scores
from tlx.learner.optimization import factor, make_optimizer, parameter_groups
from tlx.learner.plan import Phase
from tlx.network.network import Network
from tlx.randomness import seed_for


class Learner(pl.LightningModule):
    """Trains a network's awake parameters on labelled images.

    Everything random is a function of (seed, epoch, batch), and what is frozen is a function of the epoch, so that a
    resumed run is in the same state as one that was never interrupted.
    """

    def __init__(
        self,
        network: Network,
        num_classes: int,
        phase: Phase,
        regularizer: Regularizer,
        class_weights: torch.Tensor | None,
        certificate: Certificate,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.phase = phase
        self.regularizer = regularizer
        self.certificate = certificate
        self.seed = seed
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.train_loss = MeanMetric()
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro")
        for metric in (self.train_loss, self.train_accuracy):
            metric.persistent(True)  # an epoch's sums survive an interruption in its middle
        self.val_loss = MeanMetric()
        self.val_scores = scores(num_classes)
        self.validated: dict[str, float] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images (N, 3, S, S): logits (N, K)."""
        logits: torch.Tensor = self.network(images)
        return logits

    def setup(self, stage: str) -> None:
        """Wake whatever trains in any epoch of the phase: processes agree on gradients of what is awake now."""
        ever = frozenset().union(*(self.network.trained_in(e, self.phase.index) for e in range(self.phase.epochs)))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad = name in ever

    def configure_optimizers(self) -> Any:
        """Create the optimizer over all groups of all epochs, and a schedule that counts steps."""
        phase = self.phase
        groups = parameter_groups(self.network, phase.optimizer, phase.epochs, phase.index)
        optimizer = make_optimizer(groups, phase.optimizer)
        steps = max(1, int(self.trainer.estimated_stepping_batches) // phase.epochs)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: factor(phase.schedule, step, steps, phase.epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the certificate beside the state that it is about."""
        checkpoint["certificate"] = self.certificate.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the certificate over."""
        self.certificate.load_state_dict(checkpoint["certificate"])

    def on_train_start(self) -> None:
        """Freeze as the epoch wants it that goes on: a run resumed inside an epoch sees no epoch start."""
        going_on = self.certificate.open or {"last": 0}
        self.certificate.enter(self.phase.index, self.phase.name, going_on["last"])

    def on_train_epoch_start(self) -> None:
        """Freeze as this epoch wants it."""
        self.certificate.enter(self.phase.index, self.phase.name, self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and the like for this batch alone."""
        torch.manual_seed(seed_for(self.seed, "batch", self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of this process's part, scaled so that the processes' mean is the whole batch's mean."""
        logits = self(batch["image"])
        labels = batch["label"]
        by_class = self.class_weights
        weights = by_class[labels] if isinstance(by_class, torch.Tensor) else torch.ones_like(logits[:, 0])
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.regularizer.label_smoothing)
        weight = weights.sum()
        if self.trainer.world_size > 1:  # parts differ in size by one image, and in class weights by more
            weight = self.trainer.strategy.reduce(weight.detach().clone(), reduce_op="mean")
        loss = (losses * weights).sum() / weight
        if not torch.isfinite(loss):
            raise NumericalError(
                f"the loss is {float(loss.detach())} in epoch {self.current_epoch}, batch {batch_idx}",
                "lower optimizer.lr, or set trainer.precision=32; the last good checkpoint is kept",
            )
        self.train_loss.update(losses.detach())
        self.train_accuracy.update(logits.detach(), labels)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start the sums anew: an interrupted validation leaves none behind."""
        self.val_loss.reset()
        self.val_scores.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure on a validation batch."""
        logits = self(batch["image"])
        self.val_loss.update(F.cross_entropy(logits, batch["label"], reduction="none"))
        self.val_scores.update(logits, batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Fold the sums of all batches and processes."""
        self.validated = {"loss": float(self.val_loss.compute())}
        self.validated |= {name: float(value) for name, value in self.val_scores.compute().items()}
        if self.trainer.loggers:
            self.log_dict({f"val/{name}": value for name, value in self.validated.items()}, sync_dist=False)

    def finish_epoch(self) -> dict[str, float]:
        """Return the epoch's row for ``metrics.csv`` and start the training sums anew."""
        row = {"train/loss": float(self.train_loss.compute()), "train/accuracy": float(self.train_accuracy.compute())}
        self.train_loss.reset()
        self.train_accuracy.reset()
        return row | {f"val/{name}": value for name, value in self.validated.items()}
