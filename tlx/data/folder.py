"""Folder: class folders, with or without given splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tlx.config.groups import FolderData
from tlx.data.decode import pixels
from tlx.data.found import Found
from tlx.data.names import Names
from tlx.data.source import FileImages, Images
from tlx.errors import InputError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
LAYOUT = "expected data.root/CLASS/*.jpg, or data.root/train/CLASS/*.jpg with val/ and test/ beside train/"


def open_folder(config: FolderData) -> Found:
    """Read the class folders below ``config.root``, and which splits they are in.

    Raises:
        InputError: No folder, no classes, one class, an empty class, a class that ``train`` lacks.
    """
    root = Path(config.root).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"data.root={root} is no folder", "give a folder of class folders")
    given = {split: _given(root, names) for split, names in SPLIT_FOLDERS.items()}
    skipped: Counter[str] = Counter()
    if given["train"] is None:
        if given["val"] or given["test"]:
            raise InputError(f"data.root={root} has no train/", LAYOUT)
        given = {"train": root, "val": None, "test": None}
    folders: dict[str, Path] = {split: folder for split, folder in given.items() if folder is not None}
    classes = _classes(folders["train"])
    most = pixels(config.max_megapixels)
    found: dict[str, Images] = {
        split: _files(folder, root, classes, skipped, most) for split, folder in folders.items()
    }
    return Found(str(root), tuple(classes), found, skipped=dict(skipped))


def _given(root: Path, names: tuple[str, ...]) -> Path | None:
    here = [entry.name for entry in os.scandir(root) if entry.name.lower() in names and _is_dir(entry)]
    here.sort(key=lambda name: (names.index(name.lower()), name != name.lower()))
    return root / here[0] if here else None


def _classes(folder: Path) -> list[str]:
    classes = _class_folders(folder)
    if not classes:
        images = sum(1 for entry in os.scandir(folder) if Path(entry.name).suffix.lower() in ENDINGS)
        what = f"{folder} has no class folders" + (f" but {images} images" if images else "")
        raise InputError(what, LAYOUT)
    if len(classes) == 1:
        raise InputError(f"{folder} has one class only: {classes[0]}", "give at least two class folders")
    return classes


def _class_folders(folder: Path) -> list[str]:
    """List the folders in a folder; a link to one may be a class, but not a link back to where it stands."""
    found = []
    for entry in list(os.scandir(folder)):
        if entry.name.startswith(".") or not _is_dir(entry):
            continue
        if entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve()):
            raise InputError(f"{entry.path} links back to a folder that it stands in", "remove the link")
        found.append(entry.name)
    return sorted(found)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    # A link to itself is neither folder nor file: pathlib says so, where the entry raises an error.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _files(folder: Path, root: Path, classes: list[str], skipped: Counter[str], max_pixels: int) -> FileImages:
    paths: list[str] = []
    labels: list[int] = []
    here = _class_folders(folder)
    if unknown := [name for name in here if name not in classes]:
        what = f"{folder} has classes that train/ lacks: {', '.join(unknown)}"
        raise InputError(what, "add them to train/ or remove them")
    for label, name in enumerate(classes):
        files = sorted(_walk(folder / name, skipped)) if name in here else []
        if not files:
            raise InputError(f"the class folder {folder / name} has no images", "add images or remove the folder")
        paths += [str(file.relative_to(root)) for file in files]
        labels += [label] * len(files)
    return FileImages(root, Names.of(paths), np.array(labels, dtype=np.int64), max_pixels)


def _walk(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    """Yield image files; links to folders are not followed, so that no loop and no foreign file comes in."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), skipped)
        elif Path(entry.path).is_file() if entry.is_symlink() else entry.is_file():
            ending = Path(entry.name).suffix.lower()
            if ending in ENDINGS:
                yield Path(entry.path)
            else:
                skipped[ending] += 1
