"""Cost: what each strategy takes on this machine, from a few timed steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch.nn import functional as F

from tlx.advice.evidence import Evidence
from tlx.advice.strategy import Strategy, row_of
from tlx.config.cases import Auto
from tlx.data.source import SPLITS, Source
from tlx.data.threads import in_threads
from tlx.data.transforms import Draw, Prepare
from tlx.errors import MachineError
from tlx.learner.plan import plan
from tlx.learner.trainer import make_trainer
from tlx.learner.trial import Pace, inference_steps, timed, training_steps
from tlx.network.network import Network
from tlx.training.work import assemble

READ = 32  # images that are read to see how long that takes
BYTES = 4  # of a number


@dataclass(frozen=True)
class Timing:
    """Seconds an image, of reading it, of a forward pass of the whole network, and of a training step of it.

    ``drawn``: of reading it and making a random view of it, as training does.

    ``activations``: bytes that a step of a whole batch keeps for the backward pass; ``parameters``: how many train.
    """

    read: float
    drawn: float
    forward: float
    step: float
    activations: int
    parameters: int


@dataclass(frozen=True)
class Cost:
    """What a training takes: seconds, bytes of memory for the network and its training, multiply-adds."""

    seconds: float
    memory: int
    multiply_adds: float


def time_steps(strategy: Strategy, auto: Auto, source: Source) -> Timing:
    """Time the steps of a strategy that trains the whole network.

    Raises:
        InputError: Whatever is wrong with the network.
        MachineError: There is no memory for a step.
    """
    config = strategy.settings(auto)
    network, preprocessing, _ = assemble(config, source)
    trainer = make_trainer(config.trainer)
    device, (*_, phase) = trainer.strategy.root_device, plan(config)
    batch = min(config.data.batch_size, len(source.train.labels))
    pace = Pace("32", "channels_last")
    step = timed([pace], training_steps(network, phase, batch, device, config.trainer.gradient_clip), device, visits=1)
    forward = timed([pace], inference_steps(network, batch, device), device, visits=1)
    if pace not in step or pace not in forward:
        what = f"no step of {batch} images runs here"
        raise MachineError(what, "lower data.batch_size, or data.image_size")
    prepare = Prepare(preprocessing)
    draw = Draw(prepare, config.augment, config.seed)
    return Timing(
        read=_reading(source, lambda image, index: prepare(image), prepare.least),
        drawn=_reading(source, lambda image, index: draw(image, 0, index), draw.least),
        forward=forward[pace] / batch,
        step=step[pace] / batch,
        activations=activations(network, batch),
        parameters=sum(p.numel() for p in network.parameters()),
    )


def cost_of(strategy: Strategy, evidence: Evidence, timing: Timing, source: Source, batch: int) -> Cost:
    """Estimate what a strategy takes; the features of a frozen trunk are computed once."""
    count = sum(len(source.split(split).labels) for split in SPLITS)
    deepest = evidence.profile.rows[-1].place
    if strategy.kind == "frozen":
        place = row_of(strategy, evidence.frozen).place
        share = place.multiply_adds / max(deepest.multiply_adds, 1)
        memory = BYTES * (place.parameters + batch * place.width)
        return Cost(count * (timing.read + share * timing.forward), memory, float(count) * place.multiply_adds)
    epochs = strategy.epochs or 1
    train, val = evidence.images, len(source.val.labels)
    seconds = epochs * (train * (timing.drawn + timing.step) + val * (timing.read + timing.forward))
    seconds += count * (timing.read + timing.forward)  # the measurement at the end
    memory = BYTES * 4 * timing.parameters + timing.activations  # weights, gradients and two moments
    return Cost(seconds, memory, float(deepest.multiply_adds) * (epochs * (3 * train + val) + count))


def activations(network: Network, batch: int) -> int:
    """Count the bytes that a training step of so many images keeps for its backward pass, by a step of two."""
    own = {p.data_ptr() for p in network.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            seen[tensor.data_ptr()] = max(seen.get(tensor.data_ptr(), 0), tensor.numel() * tensor.element_size())
        kept.append(tensor)  # so that no other takes its place
        return tensor

    kept: list[torch.Tensor] = []
    size = network.trunk.image_size
    was = network.training
    network.train()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            F.cross_entropy(network(torch.zeros(2, 3, size, size)), torch.zeros(2, dtype=torch.long))
    finally:
        network.train(was)
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
    return sum(seen.values()) * batch // 2


def _reading(source: Source, prepared: Callable[[Image.Image, int], torch.Tensor], least: int) -> float:
    """Return the seconds that an image takes to be read and prepared, with all threads at work."""
    images = source.train
    count = min(READ, len(images.labels))
    started = time.perf_counter()
    for _ in in_threads(lambda index: prepared(images.read(index, least), index), count):
        pass
    return (time.perf_counter() - started) / count
