"""Surgical fine-tuning: one backward pass recommends the stages to train."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch.nn import functional as F

from tlx.config.groups import SurgicalFreeze
from tlx.network.anatomy import Anatomy
from tlx.network.network import Network
from tlx.results.console import console, say
from tlx.training.work import Work


def recommend(work: Work, network: Network, policy: SurgicalFreeze) -> None:
    """Let the network's anatomy know which stages its policy trains; the choice is kept in the run's decisions."""
    trainer = work.trainer()

    def find() -> dict[str, Any]:
        with work.clock.phase("fit"):
            loader = work.images(trainer).train_dataloader()
            norms = relative_gradient_norms(network, loader, policy.images, trainer.strategy.root_device)
        best = sorted(range(len(norms)), key=lambda stage: -norms[stage])[: policy.stages]
        return {"stages": sorted(best), "relative_gradient_norms": norms}

    found = work.decisions.take("surgical", find)
    network.anatomy.chosen = tuple(found["stages"])
    if trainer.is_global_zero:
        names = network.anatomy.stages
        listed = ", ".join(f"{n} {v:.2g}" for n, v in zip(names, found["relative_gradient_norms"], strict=True))
        say(console(), "surgical", f"trains {', '.join(names[s] for s in found['stages'])} (gradient/weight: {listed})")


def relative_gradient_norms(network: Network, loader: Any, images: int, device: torch.device) -> list[float]:
    """Return |gradient| / |weights| of every stage, over at most ``images`` training images.

    The relative gradient norm of Lee et al. (2023), over a stage's parameters together; in eval mode, on a copy.
    """
    copy = deepcopy(network).to(device).eval()
    for parameter in copy.parameters():
        parameter.requires_grad = True
    copy.trained = frozenset(name for name, _ in copy.named_parameters())  # so that the trunk builds a graph
    seen = 0
    for batch in loader:
        logits = copy(batch["image"].to(device))
        F.cross_entropy(logits, batch["label"].to(device), reduction="sum").backward()
        seen += len(logits)
        if seen >= images:
            break
    return _by_stage(copy, copy.anatomy, seen)


def _by_stage(network: Network, anatomy: Anatomy, seen: int) -> list[float]:
    gradients, weights = [0.0] * len(anatomy.stages), [0.0] * len(anatomy.stages)
    for name, parameter in network.named_parameters():
        if (stage := anatomy.stage.get(name)) is not None and parameter.grad is not None:
            gradients[stage] += float((parameter.grad / seen).square().sum())
            weights[stage] += float(parameter.detach().square().sum())
    return [(g / w) ** 0.5 if w else 0.0 for g, w in zip(gradients, weights, strict=True)]
