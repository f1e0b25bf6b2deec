"""Small networks with random weights, put together without training, and images to compare exports on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from tlx.config.groups import HeadCut, LinearHead, NeighboursHead, ScratchInit, TimmBackbone, TrunkFreeze
from tlx.export.formats import FORMATS
from tlx.export.parity import Parity, compared
from tlx.export.reference import reference
from tlx.export.subject import Subject
from tlx.network import model_folder
from tlx.network.network import build

CLASSES = ["ant", "bee", "```\n# hostile", "日本", "<b>"]


def subject(folder: Path, name: str = "test_resnet", cut: Any = None, head: Any = None, size: int = 32) -> Subject:
    """Build a network and save it as a run would."""
    backbone = TimmBackbone(name=name, image_size=size)
    cut, head = cut or HeadCut(), head or LinearHead()
    network, seen, _ = build(backbone, ScratchInit(), cut, TrunkFreeze(), head, len(CLASSES), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.head.parameters():  # heads start from nearly nothing, and would say nothing
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    if isinstance(head, NeighboursHead):
        rows = torch.randn(head.rows, network.trunk.width, generator=generator)
        network.head.neighbours.fill(
            F.normalize(rows, dim=1), torch.arange(head.rows) % len(CLASSES), torch.ones(head.rows)
        )
    folder.mkdir(parents=True, exist_ok=True)
    model_folder.save(folder, network.eval(), backbone, head, seen, CLASSES, temperature=1.3)
    return Subject(model_folder.load(folder), folder, backbone)


def images() -> list[Image.Image]:
    """Draw images that are wide, tall, small and square."""
    rng = np.random.default_rng(0)
    sizes = ((60, 200), (200, 61), (20, 17), (64, 64))
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def parity(format: str, folder: Path, one: Subject) -> Parity:
    """Write an export and compare it with the network."""
    expected = np.stack(list(map(reference(one.model), images())))
    folder.mkdir(exist_ok=True)
    FORMATS[format].write(folder, one)
    return compared(expected, np.stack(list(map(FORMATS[format].read(folder, one), images()))), "images")
