"""The data module: the same batches however they are loaded, weights for classes, and where it stopped."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn

from tlx.config.groups import LightAugment, NoAugment, StandardAugment
from tlx.data.module import ImageModule, ThreadedViews
from tlx.data.source import ArrayImages, FileImages, Source
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.preprocessing import Preprocessing

LABELS = np.repeat([0, 1, 2], [7, 4, 2])


def images(split: str, labels: np.ndarray) -> ArrayImages:
    rng = np.random.default_rng(len(labels))
    return ArrayImages(f"made/{split}", rng.integers(0, 255, (len(labels), 12, 12, 3), dtype=np.uint8), labels)


def module(workers: int | None = 0, balance: str = "none", batch_size: int = 4, **settings: Any) -> ImageModule:
    source = Source(
        ("a", "b", "c"),
        images("train", settings.pop("labels", LABELS)),
        images("val", LABELS[::2]),
        images("test", LABELS),
        in_memory=True,
    )
    augment = settings.pop("augment", StandardAugment())
    prepare = Prepare(Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))
    return ImageModule(source, prepare, augment, batch_size, workers, balance, 5, **settings)


def read(loader: Any, epoch: int | None = None) -> list[dict[str, torch.Tensor]]:
    if epoch is not None:
        loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a[key], b[key]) for a, b in zip(one, other, strict=True) for key in ("image", "label", "index")
    )


def test_workers_change_nothing() -> None:
    plain, parallel = module(0), module(2)
    one, two = plain.train_dataloader(), parallel.train_dataloader()
    for epoch in (0, 1, 2):
        assert same(read(one, epoch), read(two, epoch))
    assert not same(read(one, 0), read(one, 1))
    assert same(read(plain.plain_loader("test")), read(parallel.plain_loader("test")))


def test_a_batch_holds_what_it_says() -> None:
    data = module(augment=NoAugment())
    for batch in read(data.train_dataloader(), 0):
        assert batch["image"].dtype == torch.float32
        assert batch["image"].shape[1:] == (3, 8, 8)
        assert batch["label"].dtype == batch["index"].dtype == torch.int64
        for image, label, index in zip(batch["image"], batch["label"], batch["index"], strict=True):
            assert int(label) == LABELS[index]
            assert torch.equal(image, data.prepare(data.source.train.read(int(index))))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_plain_loaders_share_a_split_out_in_order(world: int) -> None:
    parts = [module(place=(rank, world)).plain_loader("test") for rank in range(world)]
    indices = [torch.cat([batch["index"] for batch in part]).tolist() for part in parts]
    assert indices == [list(range(rank, len(LABELS), world)) for rank in range(world)]
    val = [batch["index"].tolist() for batch in module().val_dataloader()]
    assert list(chain.from_iterable(val)) == list(range(len(LABELS[::2])))
    assert max(map(len, val)) == 4


def test_class_weights_give_every_class_the_same_say() -> None:
    weights = module(balance="weights").class_weights()
    assert weights is not None
    total = [float(weights[c]) * int((c == LABELS).sum()) for c in range(3)]
    np.testing.assert_allclose(total, [len(LABELS) / 3] * 3, rtol=1e-6)
    assert module(balance="none").class_weights(solving=True) is None
    assert module(balance="sampler").class_weights() is None
    solving = module(balance="sampler").class_weights(solving=True)
    assert solving is not None
    assert torch.equal(solving, weights)


def test_weights_for_a_class_without_images_are_told() -> None:
    with pytest.raises(InputError, match="class 'b' has no training image"):
        module(balance="weights", labels=np.array([0, 0, 2])).class_weights()


def test_a_balanced_sampler_reaches_the_loader() -> None:
    loader = module(balance="sampler", labels=np.repeat([0, 1, 2], [60, 4, 2])).train_dataloader()
    labels = torch.cat([b["label"] for e in range(5) for b in read(loader, e)])
    np.testing.assert_allclose(np.bincount(labels) / len(labels), 1 / 3, atol=0.12)


class Recorder(pl.LightningModule):
    """Records which images it is trained on, and what the data module says of itself behind every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[tuple[int, list[int], float]] = []
        self.states: list[dict[str, Any]] = []

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch["index"].tolist(), float(batch["image"].sum())))
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch: Any, _: int) -> None:
        pass

    def on_train_batch_end(self, *_: Any) -> None:
        self.states.append(self.trainer.datamodule.state_dict())  # type: ignore[attr-defined]


def fit(data: ImageModule, epochs: int) -> Recorder:
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(recorder, datamodule=data)
    return recorder


def test_where_it_stopped_is_where_it_goes_on() -> None:
    """Every interruption point of three epochs: the state leads to exactly the batches that were left."""
    full = fit(module(), 3)
    assert len(full.seen) == 9  # 13 images in batches of 4: three batches, the last of 5
    assert [epoch for epoch, _, _ in full.seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for done, state in enumerate(full.states, start=1):
        assert state["epoch"] * 3 + state["batches"] == done
        data = module()
        data.load_state_dict(state)
        loader = data.train_dataloader()
        left = []
        for epoch in range(state["epoch"], 3):
            if epoch != state["epoch"]:  # Lightning tells the epoch only from the second one on
                loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            left += [(epoch, b["index"].tolist(), float(b["image"].sum())) for b in loader]
        assert left == full.seen[done:]


def test_workers_are_chosen_by_the_kind_of_source() -> None:
    assert module(None).workers == 0
    source = module().source
    from_files = Source(source.classes, source.train, source.val, source.test, in_memory=False)
    chosen = ImageModule(from_files, module().prepare, NoAugment(), 4, None, "none", 0).workers
    assert 1 <= chosen <= 8


def test_threads_prepare_what_workers_prepare(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [f"{index}.png" for index in range(9)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / path)
    files = FileImages(tmp_path, paths, np.arange(9) % 3)
    source = Source(("a", "b", "c"), files, files, files)
    prepare = Prepare(Preprocessing(32, (0.5,) * 3, (0.25,) * 3, "bicubic", 0.9))
    keys = [(0, index) for index in (4, 1, 8, 0, 2)]

    def read(workers: int | None, device: str = "cpu", drawn: bool = False) -> tuple[Any, dict[str, torch.Tensor]]:
        module = ImageModule(source, prepare, LightAugment(), 4, workers, "none", 0)
        loader = module.loader_of("train", keys, drawn, 2, device)
        batches = list(loader)
        return loader, {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    threaded, ours = read(None)
    plain, theirs = read(0)
    assert isinstance(threaded.dataset, ThreadedViews)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for loader in (plain, read(None, drawn=True)[0], read(None, "cuda")[0]):
        assert not isinstance(loader.dataset, ThreadedViews)
