"""Torchvision: its data sets of (image, class), by the name of their class, in the layout that torchvision keeps."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from tlx.config.groups import TorchvisionData
from tlx.data.decode import pixels
from tlx.data.found import Found
from tlx.data.own.classes import Named, class_map, labels
from tlx.data.own.names import Names
from tlx.data.source import ArrayImages, FileImages, Images
from tlx.errors import InputError, MachineError, TlxError, nearest

TIMEOUT_S = 10.0  # torchvision's downloads have none

Contents = tuple[Any, Any]  # pixels as one array, or files as a list of paths; and their labels


@dataclass(frozen=True)
class Entry:
    """How a set is asked for each split that it has, and where it keeps what it found."""

    splits: Mapping[str, Mapping[str, Any]]
    contents: Callable[[Any], Contents]


def _pixels(images: str, numbers: str, order: tuple[int, ...] = ()) -> Callable[[Any], Contents]:
    """Read two attributes: pixels (N, H, W), (N, H, W, 3), or in another order of axes; and labels."""

    def read(one: Any) -> Contents:
        array = _array(getattr(one, images))
        return (array.transpose(order) if order else array), _array(getattr(one, numbers))

    return read


def _array(values: Any) -> np.ndarray:
    return values.numpy() if hasattr(values, "numpy") else np.asarray(values)  # some sets hold tensors


def _files(paths: str, numbers: str) -> Callable[[Any], Contents]:
    return lambda one: (getattr(one, paths), getattr(one, numbers))


def _samples(pairs: str) -> Callable[[Any], Contents]:
    return lambda one: tuple(zip(*getattr(one, pairs), strict=True)) or ((), ())  # type: ignore[return-value]


FLAGS = {"train": {"train": True}, "test": {"train": False}}
TWO = {"train": {"split": "train"}, "test": {"split": "test"}}
THREE = {**TWO, "val": {"split": "val"}}
HOLDS_ARRAYS, HOLDS_FILES = _pixels("data", "targets"), _files("_image_files", "_labels")
# Only these are ever made: a name in a config never picks a class of its own.
ENTRIES = {
    "CIFAR10": Entry(FLAGS, HOLDS_ARRAYS),
    "CIFAR100": Entry(FLAGS, HOLDS_ARRAYS),
    "Country211": Entry({**TWO, "val": {"split": "valid"}}, _samples("samples")),
    "DTD": Entry(THREE, HOLDS_FILES),
    "EuroSAT": Entry({"train": {}}, _samples("samples")),
    "FGVCAircraft": Entry(THREE, HOLDS_FILES),
    "FashionMNIST": Entry(FLAGS, HOLDS_ARRAYS),
    "Flowers102": Entry(THREE, HOLDS_FILES),
    "Food101": Entry(TWO, HOLDS_FILES),
    "GTSRB": Entry(TWO, _samples("_samples")),
    "KMNIST": Entry(FLAGS, HOLDS_ARRAYS),
    "MNIST": Entry(FLAGS, HOLDS_ARRAYS),
    "OxfordIIITPet": Entry({"train": {"split": "trainval"}, "test": {"split": "test"}}, _files("_images", "_labels")),
    "STL10": Entry(TWO, _pixels("data", "labels", (0, 2, 3, 1))),
    "SVHN": Entry(TWO, _pixels("data", "labels", (0, 2, 3, 1))),
}


def open_torchvision(config: TorchvisionData) -> Found:
    """Open the set ``config.name`` in ``config.root``; its images keep the set's order.

    Raises:
        InputError: An unknown name, a set that is not there or damaged, a download that fails.
        MachineError: A file that may not be read or written.
    """
    entry = ENTRIES.get(config.name)
    if entry is None:
        raise InputError(
            f"data.name={config.name} is no set of torchvision that tlx reads", nearest(config.name, ENTRIES)
        )
    root = Path(config.root).expanduser().absolute()
    named: dict[str, Named] = {}
    contents: dict[str, Any] = {}
    for split in sorted(entry.splits):
        one = _made(config, root, entry.splits[split])
        contents[split], numbers = entry.contents(one)
        codes = np.array(numbers, dtype=np.int64)
        given = getattr(one, "classes", None)
        names = given or range(int(codes.max(initial=-1)) + 1)
        named[split] = Named(codes, tuple(map(str, names)), declared=given is not None)
    classes = class_map(named["train"])
    most = pixels(config.max_megapixels)
    found = {
        split: _images(config, root, split, contents[split], labels(named[split], classes), most) for split in named
    }
    in_memory = isinstance(found["train"], ArrayImages)
    return Found(f"{config.name} in {root}", classes, found, in_memory=in_memory, split=len(found) > 1)


def _images(config: TorchvisionData, root: Path, split: str, held: Any, numbers: np.ndarray, most: int) -> Images:
    if (numbers < 0).any():
        what = f"{config.name} in {root} has {split} images of classes that its train images lack"
        raise InputError(what, "remove it and fetch it again: data.download=true")
    if isinstance(held, np.ndarray):
        return ArrayImages(f"{config.name}/{split}", held, numbers)
    return FileImages(root, Names.of(relpath(path, root) for path in held), numbers, most)


def _made(config: TorchvisionData, root: Path, how: Mapping[str, Any]) -> Any:
    """Make a split of a set; fetch it if it is not there and that is wished."""
    kind = getattr(datasets, config.name)
    with _told(config.name, root):
        try:
            return kind(str(root), **how)
        except RuntimeError:  # how torchvision says that something is missing, or is not what it should be
            if not config.download:
                what = f"torchvision's {config.name} is not in {root}, or not whole"
                raise InputError(what, "fetch it (data.download=true) or give another data.root=PATH") from None
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_S)
        try:
            return kind(str(root), **how, download=True)
        except (RuntimeError, OSError) as error:
            if isinstance(error, PermissionError):
                raise
            what = f"torchvision's {config.name} cannot be fetched ({_line(error)})"
            raise InputError(what, f"fetch it elsewhere and copy it to {root}") from None
        finally:
            socket.setdefaulttimeout(before)


@contextmanager
def _told(name: str, root: Path) -> Iterator[None]:
    try:
        yield
    except TlxError:
        raise
    except PermissionError as error:
        raise MachineError(f"{error.filename or root} may not be read or written", "change its permissions") from None
    except Exception as error:  # whatever a damaged file makes of its reader
        what = f"torchvision's {name} in {root} cannot be read ({_line(error)})"
        raise InputError(what, "remove it and fetch it again: data.download=true") from None


def _line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())
