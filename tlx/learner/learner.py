"""The LightningModule: steps, metrics, parameter groups."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tlx.config.groups import Regularizer
from tlx.data.module import Batch
from tlx.errors import NumericalError
from tlx.learner.anchor import Anchor
from tlx.learner.average import Average
from tlx.learner.certificate import Certificate
from tlx.learner.metrics import scores
from tlx.learner.mix import Mix, weighed
from tlx.learner.optimization import factor, fuses, make_optimizer, parameter_groups
from tlx.learner.plan import Phase
from tlx.learner.watch import MEND, LossWatch, finite, validated
from tlx.network.head_alone import Trainable
from tlx.randomness import seed_for


class Learner(pl.LightningModule):
    """Trains a network's awake parameters on labelled images.

    Everything random is a function of (seed, epoch, batch), and what is frozen is a function of the epoch, so that a
    resumed run is in the same state as one that was never interrupted.
    """

    def __init__(
        self,
        network: Trainable,
        num_classes: int,
        phase: Phase,
        regularizer: Regularizer,
        class_weights: torch.Tensor | None,
        certificate: Certificate,
        seed: int,
        mix: Mix | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.phase = phase
        self.regularizer = regularizer
        self.certificate = certificate
        self.seed = seed
        self.mix = mix
        self.ever = frozenset().union(*(network.trained_in(epoch, phase.index) for epoch in range(phase.epochs)))
        self.anchor = Anchor(network, self.ever, regularizer.l2_sp) if regularizer.l2_sp else None
        self.average = Average(network, regularizer.ema) if regularizer.ema else None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.watch = LossWatch()
        # Without checks of their own, which wait for the device at every step: the watch sees what is not finite.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        for metric in (self.train_loss, self.train_accuracy):
            metric.persistent(True)  # an epoch's sums survive an interruption in its middle
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.val_scores = scores(num_classes, checked=False)
        self.validated: dict[str, float] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images (N, 3, S, S): logits (N, K)."""
        logits: torch.Tensor = self.network(images)
        return logits

    def setup(self, stage: str) -> None:
        """Wake whatever trains in any epoch of the phase: processes agree on gradients of what is awake now."""
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad = name in self.ever

    def configure_optimizers(self) -> Any:
        """Create the optimizer over all groups of all epochs, and a schedule that counts steps."""
        phase = self.phase
        groups = parameter_groups(self.network, phase.optimizer, phase.epochs, phase.index)
        fused = fuses(self.device.type, str(self.trainer.precision)) and not isinstance(
            self.trainer.strategy, FSDPStrategy
        )
        optimizer = make_optimizer(groups, phase.optimizer, fused)
        steps = max(1, int(self.trainer.estimated_stepping_batches) // phase.epochs)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: factor(phase.schedule, step, steps, phase.epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the certificate beside the state that it is about, and what regularizers hold.

        Raises:
            NumericalError: The state is not worth keeping.
        """
        self.watch.look()
        broken = not finite(p for name, p in self.network.named_parameters() if name in self.ever)
        if self.trainer.world_size > 1:
            broken = self.trainer.strategy.reduce_boolean_decision(broken, all=False)
        if broken:
            raise NumericalError(f"weights are no longer finite in epoch {self.current_epoch}", MEND)
        for name, part in self._stateful().items():
            checkpoint[name] = part.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them over."""
        for name, part in self._stateful().items():
            part.load_state_dict(checkpoint[name])

    def _stateful(self) -> dict[str, Any]:
        parts = {"certificate": self.certificate, "anchor": self.anchor, "average": self.average}
        return {name: part for name, part in parts.items() if part is not None}

    def on_train_start(self) -> None:
        """Freeze as the epoch wants it that goes on: a run resumed inside an epoch sees no epoch start."""
        going_on = self.certificate.open or {"last": 0}
        self._enter(going_on["last"])

    def on_train_epoch_start(self) -> None:
        """Freeze as this epoch wants it."""
        self._enter(self.current_epoch)

    def _enter(self, epoch: int) -> None:
        self.certificate.enter(self.phase.index, self.phase.name, epoch)
        if self.average is not None:
            self.average.begin()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and the like for this batch alone."""
        seed = self._seed("batch", batch_idx)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the same; not for GPUs as well, which nobody uses here
        else:
            torch.manual_seed(seed)

    def _seed(self, purpose: str, batch_idx: int) -> int:
        return seed_for(self.seed, purpose, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of this process's part, scaled so that the processes' mean is the whole batch's mean.

        ``train/loss`` is the cross entropy of what the network saw, mixed images and smoothed labels, every image alike
        and without the anchor's penalty. ``train/accuracy`` counts a mixed image by its own label, never by the one
        mixed in, and is low by construction.
        """
        images, labels = batch["image"], batch["label"]
        targets, by_class = labels, self.class_weights
        if self.mix is not None:
            images, targets = self.mix(images, labels, self._seed("mix", batch_idx))
        logits = self(images).float()
        weights = by_class[labels] if isinstance(by_class, torch.Tensor) else torch.ones_like(logits[:, 0])
        if self.mix is not None and isinstance(by_class, torch.Tensor):
            targets, weights = weighed(targets, by_class)
        losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.regularizer.label_smoothing)
        weight = weights.sum()
        if self.trainer.world_size > 1:  # parts differ in size by one image, and in class weights by more
            weight = self.trainer.strategy.reduce(weight.detach().clone(), reduce_op="mean")
        loss = (losses * weights).sum() / weight
        if self.anchor is not None:
            loss = loss + self.anchor.penalty()
        self.watch.see(loss, self.current_epoch, batch_idx)
        self.train_loss.update(losses.detach())
        self.train_accuracy.update(logits.detach(), labels)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and let the average see it, before anything can be saved."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update()

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the norm of all gradients together.

        Lightning refuses that for a fused optimizer in any mixed precision, and only with scaled gradients it is wrong.
        """
        if optimizer.defaults.get("fused") and gradient_clip_val is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def kept(self) -> AbstractContextManager[None]:
        """For a block, make the network's weights those that the run keeps: the average's, where there is one."""
        return self.average.swapped_in() if self.average is not None else nullcontext()

    def on_validation_start(self) -> None:
        """Validate the weights that the run keeps."""
        if self.average is not None:
            self.average.exchange()

    def on_validation_end(self) -> None:
        """Go on training with the others."""
        if self.average is not None:
            self.average.exchange()

    def on_validation_epoch_start(self) -> None:
        """Start the sums anew: an interrupted validation leaves none behind."""
        self.val_loss.reset()
        self.val_scores.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure on a validation batch."""
        logits = self(batch["image"]).float()
        self.val_loss.update(F.cross_entropy(logits, batch["label"], reduction="none"))
        self.val_scores.update(logits, batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Fold the sums of all batches and processes.

        Raises:
            NumericalError: The loss is not finite: what was trained is of no use, whatever was saved before it is.
        """
        self.validated = {"loss": validated(float(self.val_loss.compute()), self.current_epoch)}
        self.validated |= {name: float(value) for name, value in self.val_scores.compute().items()}
        if self.trainer.loggers:
            self.log_dict({f"val/{name}": value for name, value in self.validated.items()}, sync_dist=False)

    def finish_epoch(self) -> dict[str, float]:
        """Return the epoch's row for ``metrics.csv`` and start the training sums anew.

        Raises:
            NumericalError: A loss of the epoch was not finite.
        """
        self.watch.look()
        row = {"train/loss": float(self.train_loss.compute()), "train/accuracy": float(self.train_accuracy.compute())}
        self.train_loss.reset()
        self.train_accuracy.reset()
        for logger in self.trainer.loggers:
            logger.log_metrics({**row, "epoch": self.current_epoch}, self.global_step)
        return row | {f"val/{name}": value for name, value in self.validated.items()}
