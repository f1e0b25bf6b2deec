"""The dataclasses of the groups ``data`` and ``augment``: where images come from, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass

from tlx.config.fields import REQUIRED, choice, number, numbers, path

__all__ = [
    "ArrowData",
    "Data",
    "DigitsData",
    "FolderData",
    "HubData",
    "LettersData",
    "LightAugment",
    "NoAugment",
    "OwnData",
    "PatchesData",
    "ShardsData",
    "StandardAugment",
    "StrongAugment",
    "TableData",
    "TorchvisionData",
]


@dataclass
class Data:
    """What every data source shares. Sizes are pixels, shares are fractions of the images."""

    image_size: int | None = number(None, low=1)  # default: the backbone's own
    batch_size: int = number(64, low=1)
    workers: int | None = number(None, low=0)  # default: from the cores and the kind of source
    balance: str = choice("none", "none", "weights", "sampler")


@dataclass
class OwnData(Data):
    """What every source of a person's own images shares.

    Args:
        split: The shares of train, val and test, where they are not given. Where only some are, the others keep their
            shares of what there is to divide, and train takes the rest.
        per_class: At most so many training images a class, before validation images are carved out of them.
        fraction: At most this share of every class's training images, likewise.
        on_bad: What becomes of images that cannot be read: ``error`` ends the run and names them, ``skip`` leaves
            them out, before anything is split.
        scan: What is read before training: ``headers`` of the files, or everything (``full``).
        max_megapixels: Larger images are refused before they are decoded.
        cache: Where decoded images are kept for the next epochs: nowhere, in memory, or on disk.
        cache_dir: The folder for those on disk.
    """

    split: list[float] = numbers(0.7, 0.15, 0.15, low=0, high=1, least=3)
    per_class: int | None = number(None, low=1)
    fraction: float | None = number(None, above=0, high=1)
    on_bad: str = choice("error", "error", "skip")
    scan: str = choice("headers", "headers", "full")
    max_megapixels: float = number(100.0, above=0)
    cache: str = choice("none", "none", "ram", "disk")
    cache_dir: str = path("~/.cache/tlx/images")


@dataclass
class FolderData(OwnData):
    """Class folders: ``root/CLASS/*.jpg`` or ``root/{train,val,test}/CLASS/*.jpg``.

    Args:
        links: Symbolic links that lead out of ``root`` are refused (``inside``), or followed (``anywhere``).
    """

    kind: str = "folder"
    root: str = path(required=True)
    links: str = choice("inside", "inside", "anywhere")


@dataclass
class TableData(OwnData):
    """A CSV or Parquet file, a row an image.

    Args:
        file: The table.
        root: What its paths are relative to, and may not lead out of; its own folder if not given.
        image_column: The column of the paths.
        label_column: The column of the labels: text or whole numbers.
        split_column: The column that says train, val or test.
        group_column: The column of what must not be parted by a split, such as patients.
    """

    kind: str = "table"
    file: str = path(required=True)
    root: str | None = path()
    image_column: str = "image"
    label_column: str = "label"
    split_column: str | None = None
    group_column: str | None = None


@dataclass
class ArrowData(OwnData):
    """What data sets in Arrow files share: their columns, found by their types if not given."""

    image_column: str | None = None
    label_column: str | None = None


@dataclass
class ShardsData(ArrowData):
    """A folder that Hugging Face's ``save_to_disk`` wrote."""

    kind: str = "shards"
    root: str = path(required=True)


@dataclass
class HubData(ArrowData):
    """A data set of Hugging Face's hub by name, or a folder laid out as one."""

    kind: str = "hub"
    name: str = path(required=True)
    config: str | None = None
    revision: str | None = None


@dataclass
class TorchvisionData(OwnData):
    """One of torchvision's data sets by the name of its class; ``root`` is torchvision's own folder for it."""

    kind: str = "torchvision"
    name: str = REQUIRED
    root: str = path(required=True)
    download: bool = False


@dataclass
class DigitsData(Data):
    """Handwritten digits (scikit-learn's), ``per_class`` images a class for training."""

    kind: str = "digits"
    per_class: int = number(20, low=2)


@dataclass
class LettersData(Data):
    """Rendered letters of a script, under geometric and photometric variation."""

    kind: str = "letters"
    script: str = choice("greek", "greek", "latin")
    per_class: int = number(500, low=2)
    val_per_class: int = number(50, low=1)
    test_per_class: int = number(50, low=1)


@dataclass
class PatchesData(Data):
    """Grey patches of real photographs, one photograph a class; the splits come from separate regions."""

    kind: str = "patches"
    per_class: int = number(20, low=2)
    val_per_class: int = number(50, low=1)
    test_per_class: int = number(50, low=1)
    rotate: bool = False


@dataclass
class NoAugment:
    """Training images are prepared like test images."""

    kind: str = "none"


@dataclass
class Mixing:
    """What every augmentation shares: whole batches mixed, images and labels alike; 0: off.

    ``mixup`` (Zhang et al., 2018) blends each image with another, ``cutmix`` (Yun et al., 2019) pastes a rectangle of
    another into it. The values are the alphas of the Beta(alpha, alpha) distribution that the shares are drawn from.
    Where both are on, every batch gets one of them at random.
    """

    mixup: float = number(0.0, low=0)
    cutmix: float = number(0.0, low=0)


@dataclass
class LightAugment(Mixing):
    """A random resized crop (share of the area, ratio of the sides); safe where left and right matter."""

    kind: str = "light"
    scale: list[float] = numbers(0.7, 1.0)
    ratio: list[float] = numbers(0.85, 1.18)


@dataclass
class StandardAugment(Mixing):
    """A random resized crop, a horizontal flip, and colour jitter: for photographs."""

    kind: str = "standard"
    scale: list[float] = numbers(0.35, 1.0)
    ratio: list[float] = numbers(0.75, 1.3333)
    flip: float = number(0.5, low=0, high=1)
    jitter: float = number(0.2, low=0, high=1)


@dataclass
class StrongAugment(Mixing):
    """For photographs and long trainings: smaller crops, flips, random operations, erased rectangles, mixed batches.

    ``policy`` is ``trivial`` (TrivialAugment, Müller and Hutter, 2021: one operation of any strength) or ``rand``
    (RandAugment, Cubuk et al., 2020: ``operations`` of strength ``magnitude``). ``erase`` is the probability that a
    rectangle is blanked (Zhong et al., 2020).
    """

    kind: str = "strong"
    scale: list[float] = numbers(0.2, 1.0)
    ratio: list[float] = numbers(0.75, 1.3333)
    flip: float = number(0.5, low=0, high=1)
    policy: str = choice("trivial", "trivial", "rand")
    operations: int = number(2, low=1)
    magnitude: int = number(9, low=0, high=30)
    erase: float = number(0.25, low=0, high=1)
    mixup: float = number(0.2, low=0)
    cutmix: float = number(1.0, low=0)
