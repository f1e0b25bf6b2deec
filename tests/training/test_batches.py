"""Batches: a training is refused exactly where its steps would fail, and told as its order makes them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tlx.config import groups as g
from tlx.config.roots import TrainConfig
from tlx.data.order import Order
from tlx.data.source import ArrayImages, Source
from tlx.errors import InputError
from tlx.learner.plan import plan
from tlx.network.network import Network
from tlx.training import batches
from tlx.training.batches import must_train, remarks
from tlx.training.work import assemble, solvable

LAST = "give data.batch_size=2 or more"
FROZEN = f"{LAST}, or freeze.batch_statistics=frozen"
LAYER = f"{LAST}, or head.norm=layer"


def config(size: int = 32, batch: int = 1, name: str = "test_resnet", **parts: Any) -> TrainConfig:
    """Compose a training, of everything and on images unless ``parts`` say otherwise."""
    default = TrainConfig(
        g.TimmBackbone(name=name),
        g.ScratchInit(),
        g.HeadCut(),
        g.NoFreeze(),
        g.LinearHead(),
        g.BankFeatures(),
        g.LbfgsSolver(),
        g.DigitsData(image_size=size, batch_size=batch),
        g.NoAugment(),
        g.AdamW(),
        g.CosineSchedule(),
        g.Regularizer(),
        g.Trainer(accelerator="cpu", max_epochs=2),
        g.Callbacks(),
        g.CsvLogger(),
    )
    return replace(default, **parts)


def source(count: int = 40, in_memory: bool = True) -> Source:
    images = ArrayImages("made", np.zeros((count, 8, 8, 3), np.uint8), np.arange(count) % 3)
    return Source(("a", "b", "c"), images, images, images, in_memory=in_memory)


def trainer(world: int = 1) -> Any:
    return SimpleNamespace(world_size=world)


def refusal(asked: TrainConfig, network: Any, images: int = 40, world: int = 1) -> str:
    """Return what is said against a training, or nothing."""
    try:
        must_train(asked, network, images, trainer(world))
    except InputError as error:
        return str(error)
    return ""


def steps(asked: TrainConfig, network: Network, images: int) -> None:
    """Pass so many images through the network as every epoch of every phase would, except where a solver trains."""
    if isinstance(network.freeze, g.SurgicalFreeze):
        network.anatomy.chosen = tuple(range(len(network.anatomy.stages)))  # whichever the probe recommends
    for phase in plan(asked):
        for epoch in range(0 if solvable(asked, network, phase) else phase.epochs):
            network.set_epoch(epoch, phase.index)
            network.train()(torch.randn(images, 3, asked.data.image_size or 0, asked.data.image_size or 0))


DESCENT = assemble(config(name="test_vit"), source())[0]
BATCHED = g.MlpHead(hidden=[4], norm="batch")


@pytest.mark.parametrize(
    ("asked", "mend"),
    [
        (config(), FROZEN),
        (config(64), ""),  # two by two values a channel
        (config(name="test_vit"), ""),
        (config(freeze=g.NoFreeze(batch_statistics="frozen")), ""),
        (config(freeze=g.TrunkFreeze()), ""),
        (config(freeze=g.TrunkFreeze(), features=g.NoFeatures()), ""),
        (config(freeze=g.TrunkFreeze(), head=BATCHED), LAYER),
        (config(freeze=g.TrunkFreeze(), head=replace(BATCHED, norm="layer")), ""),
        (config(head=BATCHED), LAST),
        (config(64, head=BATCHED), LAYER),
        (config(freeze=g.LastFreeze(stages=1)), FROZEN),
        (config(freeze=g.GradualFreeze()), FROZEN),  # in its second epoch
        (config(freeze=g.GradualFreeze(every=2)), ""),
        (config(freeze=g.LpFtFreeze()), ""),
        (config(freeze=g.LpFtFreeze(batch_statistics="moving")), FROZEN),
        (config(freeze=g.SurgicalFreeze()), ""),
        (config(freeze=g.SurgicalFreeze(batch_statistics="moving")), FROZEN),
    ],
)
def test_one_image_a_step_is_refused_where_a_step_fails_on_it(asked: TrainConfig, mend: str) -> None:
    network = assemble(asked, source())[0]
    said = refusal(asked, network)
    assert bool(said) == bool(mend)
    if mend:
        assert "data.batch_size=1: the BatchNorm " in said
        assert said.endswith(f"cannot train on one image a step; {mend}")
        with pytest.raises((ValueError, InputError), match=r"one image|more than 1 value per channel"):
            steps(asked, network, 1)
    else:
        steps(asked, network, 1)
    # The negative control: two images are enough for everyone.
    two = replace(asked, data=replace(asked.data, batch_size=2))
    assert not refusal(two, assemble(two, source())[0])
    steps(asked, network, 2)


def parts_of(batch: int, images: int, world: int) -> list[list[int]]:
    """Return how many images every process gets in every step of an epoch."""
    order = Order(np.zeros(images, np.int64), batch, 0, world=world).batches(0)
    return [[len(step[rank::world]) for rank in range(world)] for step in order]


SIZES = (st.integers(1, 40), st.integers(2, 40), st.integers(1, 4))


@given(*SIZES)
@example(2, 2, 2)
@example(4, 2, 2)
def test_it_is_refused_where_a_process_has_one_image_in_any_step(batch: int, each: int, world: int) -> None:
    batch, images = max(batch, world), each * world
    assume(images <= batch or len(parts_of(batch, images, world)) > 1)  # a tail may hide a batch that is too small
    with pytest.MonkeyPatch.context() as patch:
        for name, answer in (("single", ["trunk.x"]), ("asleep", []), ("solvable", False), ("_trained", [frozenset()])):
            patch.setattr(batches, name, lambda *_, answer=answer: answer)
        network = SimpleNamespace(trunk=SimpleNamespace(image_size=32), freeze=g.TrunkFreeze())
        said = refusal(config(batch=batch), network, images, world)
        assert bool(said) == (min(map(min, parts_of(batch, images, world))) < 2)
        assert not said or f"give data.batch_size={2 * world} or more" in said
        # A BatchNorm that sees the batches of all processes needs two images in all of them together.
        patch.setattr(batches, "shares_batches", lambda _: True)
        shared = refusal(config(batch=batch), network, images, world)
        assert bool(shared) == (min(map(sum, parts_of(batch, images, world))) < 2)


@given(*SIZES)
@example(13, 40, 1)
@example(40, 40, 1)
def test_what_is_told_of_the_steps_is_what_the_order_makes_of_them(batch: int, each: int, world: int) -> None:
    batch, images = max(batch, world), each * world
    sizes = [sum(step) for step in parts_of(batch, images, world)]
    said = list(remarks(config(batch=batch), DESCENT, source(images), world))
    if images < batch:
        assert sizes == [images]
        wanted = f"data.batch_size={batch:,} is more than there are: all {images:,} training images are one step"
        assert said == [wanted]
    elif sizes[-1] > batch:
        left = sizes[-1] - batch
        start = "one image alone is" if left == 1 else f"{left} images are"
        assert said == [f"{start} too few for a step: the last step of an epoch has {sizes[-1]:,}"]
    else:
        assert said == []


def test_a_solver_has_no_steps_to_tell_of() -> None:
    asked = config(batch=13, freeze=g.TrunkFreeze())
    network = assemble(asked, source())[0]
    assert list(remarks(asked, network, source(), 1)) == []
    # The negative controls: on images, and by descent on features.
    for other in (replace(asked, features=g.NoFeatures()), replace(asked, solver=g.SgdSolver())):
        assert list(remarks(other, network, source(), 1)) == [
            "one image alone is too few for a step: the last step of an epoch has 14"
        ]


@pytest.mark.parametrize(
    ("room", "told"),
    [
        (0, ["has room for 0 of 3 worker processes: images are read by this process"]),
        (1, ["has room for 1 of 3 worker processes: fewer read images"]),
        (3, []),
    ],
)
def test_workers_without_room_are_told(monkeypatch: pytest.MonkeyPatch, room: int, told: list[str]) -> None:
    asked = []

    def fit(wanted: int, size: int) -> int:
        asked.append((wanted, size))
        return min(room, wanted)

    monkeypatch.setattr(batches, "fitting", fit)
    few = config(batch=8)
    few.data.workers = 3
    said = list(remarks(few, DESCENT, source(), 2))
    assert [line.partition(") ")[2] for line in said] == told
    assert all(line.startswith("shared memory (/dev/shm) ") for line in said)
    assert asked == [(3, 4 * 3 * 32 * 32 * 4)]  # half of a batch of eight in float32
    # The negative control: images in memory need no workers, unless they are asked for.
    few.data.workers = None
    assert list(remarks(few, DESCENT, source(), 2)) == []
    assert asked[1][0] == 0
