"""Tasks: images of several kinds and numbers, each with a backbone; and the strategies that are trained on them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlx.advice.strategy import epochs_for

TEST = 200  # images a class of CIFAR-10 that are tested on
SIZE = 96  # pixels, for the photographs' backbone

EARLY = tuple(f"cut=stage cut.stage={stage}" for stage in range(4))
BACKBONES = {
    "embedded": (("backbone=embedded",), (*EARLY, "cut=head")),
    "mobilenetv1": (
        ("backbone=mobilenetv1", f"data.image_size={SIZE}"),
        (*EARLY, "cut=layer cut.name=blocks.4.0"),
    ),
}  # what chooses each, and the cuts that its weights reach, the deepest last


@dataclass(frozen=True)
class Places:
    """Where what is not in the package lies, and where folders of subsets may be made; None: it is not there."""

    hymenoptera: Path | None
    cifar10: Path | None
    weights: Path | None
    scratch: Path


@dataclass(frozen=True)
class Task:
    """A set of images, of so many a class, and a backbone."""

    data: str
    per_class: int
    backbone: str

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.data}-{self.per_class}-{self.backbone}"

    def words(self, places: Places, seed: int) -> list[str]:
        """Return the words that choose its images, drawn by ``seed``, and its backbone."""
        words = [*BACKBONES[self.backbone][0], f"seed={seed}"]
        if self.data in ("hymenoptera", "cifar10"):
            return [*words, "data=folder", f"data.root={subset(self, places, seed)}"]
        words += [f"data={self.data}", f"data.per_class={self.per_class}"]
        if self.data != "digits":
            words += [f"data.val_per_class={max(2, self.per_class // 5)}", "data.test_per_class=50"]
        return words


TASKS = (
    *(Task("hymenoptera", count, "mobilenetv1") for count in (20, 60, 120)),
    *(Task("cifar10", count, "mobilenetv1") for count in (10, 50, 200, 500)),
    *(Task("cifar10", count, "embedded") for count in (10, 50, 200, 500)),
    *(Task("digits", count, "embedded") for count in (5, 20, 80)),
    *(Task("digits", count, "mobilenetv1") for count in (10,)),
    *(Task("greek", count, "embedded") for count in (5, 20, 100)),
    *(Task("greek", count, "mobilenetv1") for count in (5,)),
    *(Task("patches", count, "embedded") for count in (10, 50, 200)),
    *(Task("patches", count, "mobilenetv1") for count in (10, 50)),
    *(Task("rotated_patches", count, "embedded") for count in (20, 100, 400)),
    *(Task("rotated_patches", count, "mobilenetv1") for count in (20,)),
)


def known(places: Places) -> Iterator[Task]:
    """Yield the tasks whose images and weights are there."""
    for task in TASKS:
        lacks = (
            (task.data == "hymenoptera" and not places.hymenoptera)
            or (task.data == "cifar10" and not places.cifar10)
            or (task.backbone == "mobilenetv1" and not places.weights)
        )
        if not lacks:
            yield task


def strategies(task: Task, places: Places, images: int) -> dict[str, list[str]]:
    """Return what is trained on a task of so many training images: each with its words, pretrained weights among them.

    All trainings of whole networks see as many images.
    """
    cuts = BACKBONES[task.backbone][1]
    deepest, epochs = cuts[-1].split(), epochs_for(images)
    weights = [f"init.file={places.weights}"] if task.backbone == "mobilenetv1" else []
    trunks = {f"trunk, {cut.rpartition('=')[2]}": ["case=small_similar", *cut.split()] for cut in cuts}
    pretrained = {
        **trunks,
        "trunk, all depths": ["case=small_similar", "cut=all"],
        "lp_ft": ["case=large_similar", *deepest, "freeze=lp_ft", f"freeze.finetune.epochs={epochs}"],
        "full": ["case=large_similar", *deepest, f"trainer.max_epochs={epochs}"],
    }
    scratch = ["case=large_different", *deepest, f"trainer.max_epochs={epochs}"]
    return {**{name: [*words, *weights] for name, words in pretrained.items()}, "scratch": scratch}


def subset(task: Task, places: Places, seed: int) -> Path:
    """Make a folder of ``per_class`` training images a class, drawn by ``seed``, and of test images, always the same.

    The smaller sets of a seed are parts of the larger ones.
    """
    root = places.hymenoptera if task.data == "hymenoptera" else places.cifar10
    assert root is not None
    target = places.scratch / f"{task.data}_{task.per_class}_{seed}"
    tests = root / ("val" if task.data == "hymenoptera" else "test")
    for split, source, most in (("train", root / "train", task.per_class), ("test", tests, TEST)):
        for folder in sorted(path for path in source.iterdir() if path.is_dir()):
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
            random.Random(f"{seed if split == 'train' else 0}/{folder.name}").shuffle(files)
            (target / split / folder.name).mkdir(parents=True, exist_ok=True)
            for file in files[:most]:
                link = target / split / folder.name / file.name
                if not link.exists():
                    shutil.copyfile(file, link)
    return target
