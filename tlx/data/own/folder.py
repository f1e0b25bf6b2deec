"""Folder: class folders, with or without given splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tlx.config.groups import FolderData
from tlx.data.decode import pixels
from tlx.data.found import Found
from tlx.data.own.links import must_stay
from tlx.data.own.names import Names
from tlx.data.source import FileImages, Images
from tlx.errors import InputError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
LAYOUT = """expected
  ROOT/cat/*.jpg     or   ROOT/train/cat/*.jpg
  ROOT/dog/*.jpg          ROOT/train/dog/*.jpg
                          ROOT/val/..., ROOT/test/... likewise"""


@dataclass
class Walked:
    """What a walk leaves aside: files by ending, hidden names, links to folders inside a class."""

    skipped: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    unfollowed: int = 0


def open_folder(config: FolderData, learn: bool = True) -> Found:
    """Read the class folders below ``config.root``, and which splits they are in.

    Without ``learn`` the images are only measured: no ``train`` is needed, and one class is enough.

    Raises:
        InputError: No folder, no classes, one class, an empty class, a class that ``train`` lacks, a link out of it.
    """
    root = Path(config.root).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"data.root={root} is no folder", "give a folder of class folders")
    try:
        return _open(root, config, learn)
    except PermissionError as error:
        raise InputError(f"the folder {error.filename} may not be read", "change its permissions") from None


def _open(root: Path, config: FolderData, learn: bool) -> Found:
    here = {split: _given(root, names, config.links) for split, names in SPLIT_FOLDERS.items()}
    given = {split: folder for split, folder in here.items() if folder is not None}
    if learn and given and "train" not in given:
        raise InputError(f"data.root={root} has no train/", LAYOUT)
    folders = given or {"train": root}
    walked = Walked(hidden=_hidden(root) if given else 0)
    reader = Reader(root, config.links, pixels(config.max_megapixels), walked)
    if learn:
        classes = reader.classes(folders["train"])
    else:
        classes = sorted({name for folder in folders.values() for name in reader.class_folders(folder)})
        if not classes:
            raise InputError(f"{root} has no class folders", LAYOUT)
    found: dict[str, Images] = {split: reader.files(folder, classes, learn) for split, folder in folders.items()}
    return Found(
        str(root),
        tuple(classes),
        found,
        split=bool(given),
        skipped=dict(walked.skipped),
        hidden=walked.hidden,
        unfollowed=walked.unfollowed,
    )


def _given(root: Path, names: tuple[str, ...], links: str) -> Path | None:
    here = [entry for entry in list(os.scandir(root)) if entry.name.lower() in names and _is_dir(entry)]
    here.sort(key=lambda entry: (names.index(entry.name.lower()), entry.name != entry.name.lower()))
    for entry in here[:1]:
        must_stay(entry, root, links)
    return Path(here[0].path) if here else None


def _hidden(folder: Path) -> int:
    return sum(entry.name.startswith(".") for entry in os.scandir(folder))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    # A link to itself is neither folder nor file: pathlib says so, where the entry raises an error.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


@dataclass(frozen=True)
class Reader:
    """Reads class folders below a root; ``walked`` counts what is left aside."""

    root: Path
    links: str
    max_pixels: int
    walked: Walked

    def classes(self, folder: Path) -> list[str]:
        """List the classes, of which there must be two."""
        classes = self.class_folders(folder)
        if not classes:
            images = sum(1 for entry in os.scandir(folder) if Path(entry.name).suffix.lower() in ENDINGS)
            what = f"{folder} has no class folders" + (f" but {images} images" if images else "")
            raise InputError(what, LAYOUT)
        if len(classes) == 1:
            raise InputError(f"{folder} has one class only: {classes[0]}", "give at least two class folders")
        return classes

    def files(self, folder: Path, classes: list[str], learn: bool = True) -> FileImages:
        """List the image files of all classes in a split's folder; what is only measured may lack some."""
        paths: list[str] = []
        labels: list[int] = []
        here = self.class_folders(folder)
        self.walked.hidden += _hidden(folder)
        if unknown := [name for name in here if name not in classes]:
            what = f"{folder} has classes that train/ lacks: {', '.join(unknown)}"
            raise InputError(what, "add them to train/ or remove them")
        for label, name in enumerate(classes):
            before = self.walked.skipped.copy()
            files = sorted(self._walk(folder / name)) if name in here else []
            if not files and (learn or name in here):
                others = ", ".join(f"{n} {ending}" for ending, n in (self.walked.skipped - before).items())
                what = f"the class folder {folder / name} has no images" + (f", but {others}" if others else "")
                raise InputError(what, f"add images ({', '.join(sorted(ENDINGS))}) or remove the folder")
            paths += [str(file.relative_to(self.root)) for file in files]
            labels += [label] * len(files)
        return FileImages(self.root, Names.of(paths), np.array(labels, dtype=np.int64), self.max_pixels)

    def class_folders(self, folder: Path) -> list[str]:
        """List the folders in a folder; a link to one may be a class, but not a link back to where it stands."""
        found = []
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(".") or not _is_dir(entry):
                continue
            if entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve()):
                raise InputError(f"{entry.path} links back to a folder that it stands in", "remove the link")
            must_stay(entry, self.root, self.links)
            found.append(entry.name)
        return sorted(found)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Yield image files; links to folders are not followed, so that no loop comes in."""
        for entry in list(os.scandir(folder)):  # closed before anything is raised
            ending = Path(entry.name).suffix.lower()
            if entry.name.startswith("."):
                self.walked.hidden += 1
            elif entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            elif _is_dir(entry):
                self.walked.unfollowed += 1
            elif ending not in ENDINGS:
                self.walked.skipped[ending] += 1
            elif entry.is_symlink() or entry.is_file():  # a link that leads nowhere is an image that is missing
                must_stay(entry, self.root, self.links)
                yield Path(entry.path)
