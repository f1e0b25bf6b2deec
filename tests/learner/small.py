"""A tiny training, through Lightning and as a plain loop of torch, for tests of what the learner adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from tlx.config import groups as g
from tlx.data.module import ImageModule
from tlx.data.source import ArrayImages, Source
from tlx.data.transforms import Prepare
from tlx.learner.certificate import Certificate
from tlx.learner.learner import Learner
from tlx.learner.mix import Mix
from tlx.learner.optimization import factor, make_optimizer, parameter_groups
from tlx.learner.plan import Phase
from tlx.learner.trainer import make_trainer
from tlx.network.freeze import Freeze
from tlx.network.network import Network, build
from tlx.preprocessing import Preprocessing
from tlx.randomness import seed_for

SEED, SIZE, CLASSES = 5, 32, 3


def made(split: str, count: int) -> ArrayImages:
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return ArrayImages(f"made/{split}", pixels, np.arange(count) % CLASSES)


@dataclass
class Small:
    """13 images in batches of four: three steps an epoch, the last of five images."""

    epochs: int = 2
    policy: Freeze = field(default_factory=g.NoFreeze)
    kwargs: dict[str, Any] = field(
        default_factory=lambda: {"drop_path_rate": 0.2, "drop_rate": 0.2, "zero_init_last": False}
    )
    balance: str = "none"
    accumulate: int = 1

    def network(self) -> Network:
        backbone = g.TimmBackbone(name="test_resnet", kwargs=self.kwargs)
        return build(backbone, g.ScratchInit(), g.HeadCut(), self.policy, g.LinearHead(), CLASSES, 0, SIZE)[0]

    def images(self) -> ImageModule:
        source = Source(("a", "b", "c"), made("train", 13), made("val", 7), made("test", 5), in_memory=True)
        prepare = Prepare(Preprocessing(SIZE, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))
        return ImageModule(source, prepare, g.LightAugment(), 4, 0, self.balance, SEED)

    @property
    def phase(self) -> Phase:
        return Phase(0, "train", self.epochs, g.AdamW(lr=0.01), g.CosineSchedule(), g.EarlyStopping())

    def learner(self, regularizer: g.Regularizer, mix: Mix | None = None) -> Learner:
        """Train through Lightning."""
        network, images = self.network(), self.images()
        settings = g.Trainer(accelerator="cpu", devices=1, max_epochs=self.epochs, accumulate=self.accumulate)
        trainer = make_trainer(settings)
        weights, certificate = images.class_weights(), Certificate(network)
        learner = Learner(network, CLASSES, self.phase, regularizer, weights, certificate, SEED, mix)
        trainer.fit(learner, datamodule=images)
        certificate.close()
        return learner

    def plain(
        self,
        smoothing: float = 0.0,
        penalty: Callable[[Network], torch.Tensor] | None = None,
        stepped: Callable[[Network], None] = lambda _: None,
    ) -> tuple[Network, list[float]]:
        """Train in a loop that knows nothing of Lightning; return the network and each batch's loss (nats)."""
        network, images, phase = self.network(), self.images(), self.phase
        groups = parameter_groups(network, phase.optimizer, self.epochs)
        optimizer = make_optimizer(groups, phase.optimizer, fused=True)
        loader, losses, step = images.train_dataloader(), [], 0
        rates = [group["lr"] for group in optimizer.param_groups]
        for epoch in range(self.epochs):
            network.set_epoch(epoch)
            network.train()
            images.order.set_epoch(epoch)
            for index, batch in enumerate(loader):
                torch.manual_seed(seed_for(SEED, "batch", epoch, index, 0))
                logits = network(batch["image"])
                each = F.cross_entropy(logits, batch["label"], reduction="none", label_smoothing=smoothing)
                loss = each.sum() / len(each)
                if penalty is not None:
                    loss = loss + penalty(network)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor(phase.schedule, step, len(loader), self.epochs)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
                optimizer.step()
                step += 1
                stepped(network)
                losses.append(float(loss.detach()))
        return network, losses


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two networks have the same state, bit for bit."""
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)
