"""Mix: mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019) of a training batch."""

from __future__ import annotations

import torch
from torchvision.transforms import v2

from tlx.config.groups import NoAugment
from tlx.data.transforms import Augment


class Mix:
    """Mixes every image of a batch with its neighbour, by torchvision: one share for the batch, drawn from a seed.

    Where both ways are on, each batch gets one of them with equal chances.
    """

    def __init__(self, mixup: float, cutmix: float, num_classes: int) -> None:
        ways: list[v2.Transform] = []
        if mixup:
            ways.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
        if cutmix:
            ways.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
        self.way = v2.RandomChoice(ways)

    def __call__(self, images: torch.Tensor, labels: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mixed images (N, 3, S, S), and soft labels (N, K) that sum to one."""
        generator = torch.default_generator  # all draws are made on the CPU
        state = generator.get_state()
        generator.manual_seed(seed)
        try:
            mixed: tuple[torch.Tensor, torch.Tensor] = self.way(images, labels)
        finally:
            generator.set_state(state)
        return mixed


def mix_for(augment: Augment, num_classes: int) -> Mix | None:
    """Return what the config asks for; None where both ways are off."""
    if isinstance(augment, NoAugment) or not (augment.mixup or augment.cutmix):
        return None
    return Mix(augment.mixup, augment.cutmix, num_classes)


def weighed(targets: torch.Tensor, by_class: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply class weights (K,) to soft labels (N, K): every share of a label counts with its own class's weight.

    Returns:
        Soft labels that sum to one again, and each image's weight (N,). Their product is ``targets * by_class``, so
        that the loss of a mixed image is the mix of its parts' weighted losses, also under label smoothing.
    """
    shares = targets * by_class
    weights = shares.sum(1)
    return shares / weights[:, None], weights
