"""Arrow: data sets of Hugging Face's ``datasets`` as labelled images; what ``shards`` and ``hub`` share.

Their tables lie in files that are mapped into memory: a data set larger than memory can be read at any index, forked
workers share it, and what is pickled for other workers is where the files are.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from tlx.config.groups import ArrowData
from tlx.data.decode import decode, pixels
from tlx.data.fault import HEAD
from tlx.data.found import Found
from tlx.data.header import Header, read_header
from tlx.data.own.classes import Named, class_map, labels
from tlx.data.own.features import image_column, label_column
from tlx.data.own.folder import SPLIT_FOLDERS
from tlx.data.own.inside import inside
from tlx.data.own.rows import COUNTED, SHOWN, rows
from tlx.data.source import Images, hashed, naming
from tlx.errors import InputError, nearest


def library() -> Any:
    """Import ``datasets``, an extra, and keep it quiet.

    Raises:
        InputError: It is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise InputError("data=shards and data=hub need the package datasets", 'pip install "tlx[hub]"') from None
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    return datasets


@dataclass(frozen=True)
class ArrowImages:
    """Images of one split: rows (N,) whose cells hold a file's bytes, or its path below one of the roots."""

    place: str  # of the whole data set, for messages
    split: str
    table: Any  # a datasets.Dataset of the one column, in the format "arrow"
    labels: np.ndarray
    roots: tuple[Path, ...]
    max_pixels: int

    def name(self, index: int) -> str:
        """Return the split and the row's index, with the path that stands there: ``train/17 (cat.jpg)``."""
        cell = self._cell(index)
        path = cell["path"].as_py() if "path" in cell else None
        if path is not None and not cell["bytes"].is_valid:
            path = next((str(Path(path).relative_to(r)) for r in self.roots if Path(path).is_relative_to(r)), path)
        return f"{self.split}/{index}" + (f" ({path})" if path else "")

    def content(self, index: int) -> bytes:
        """Return the image file's bytes."""
        with self._naming(index):
            return self._bytes(index)

    @cached_property
    def digests(self) -> np.ndarray:
        """The hashes of the files' bytes."""
        return hashed(self.content, len(self.labels))

    def header(self, index: int) -> Header:
        """Read an image's header (see header.py).

        Raises:
            BadImageError: Names the image.
        """
        with self._naming(index):
            return read_header(self._bytes(index), self.max_pixels)

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Decode an image (see decode.py).

        Raises:
            BadImageError: Names the image that cannot be decoded.
        """
        with self._naming(index):
            return decode(self._bytes(index), least, self.max_pixels)

    def _naming(self, index: int) -> AbstractContextManager[None]:
        return naming(f"{self.name(index)} of {self.place}", lambda: self._head(index))

    def _head(self, index: int) -> bytes | None:
        try:
            return self._bytes(index)[:HEAD]
        except OSError:
            return None

    def _cell(self, index: int) -> pa.StructScalar:
        return self.table[int(index)].column(0)[0]

    def _bytes(self, index: int) -> bytes:
        cell = self._cell(index)
        if (content := cell["bytes"].as_py()) is not None:
            return bytes(content)
        files = [root / cell["path"].as_py() for root in self.roots]
        return next((file for file in files if file.is_file()), files[0]).read_bytes()


def found(place: str, sets: Mapping[str, Any], roots: tuple[Path, ...], config: ArrowData) -> Found:
    """Turn data sets by split into labelled images, in the order of their rows.

    Args:
        place: What messages call the whole by.
        sets: A ``datasets.Dataset`` for every split, under whatever name it has there.
        roots: The folders that paths may lie in.
        config: Which columns to take.

    Raises:
        InputError: No train, columns that are not there or ambiguous, a row without image or label.
    """
    given, notes = _by_split(place, sets)
    features = given["train"].features
    image, label = (
        image_column(features, config.image_column, place),
        label_column(features, config.label_column, place),
    )
    named = {split: _named(place, split, one, label) for split, one in given.items()}
    for split in [s for s in given if s != "train" and not (named[s].codes >= 0).any()]:
        notes.append(f"the split {split} is left out: it holds no labels")
        del given[split]
    classes = class_map(named["train"])
    if idle := sorted(set(named["train"].names) - set(classes)) if named["train"].declared else []:
        notes.append(f"classes that no training image has are left out: {', '.join(idle)}")
    images: dict[str, Images] = {}
    for split, one in given.items():
        numbers = labels(named[split], classes)
        codes, names = named[split].codes, named[split].names
        _none(place, split, np.flatnonzero(codes < 0), "no label", ["" for _ in range(SHOWN)])
        foreign = np.flatnonzero(numbers < 0)
        _none(place, split, foreign, "a label that train lacks", [names[codes[i]] for i in foreign[:SHOWN]])
        table = one.select_columns([image]).with_format("arrow")
        _must_hold_images(place, split, table, roots)
        images[split] = ArrowImages(place, split, table, numbers, roots, pixels(config.max_megapixels))
    return Found(place, classes, images, notes=tuple(notes), split=len(images) > 1)


def _by_split(place: str, sets: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Find train, val and test by their usual names. A set that is alone is divided, whatever its name."""
    filled = {name: one for name, one in sets.items() if len(one)}
    if not filled:
        raise InputError(f"{place} holds no images", "give another data set")
    if len(filled) == 1:
        return {"train": next(iter(filled.values()))}, []
    given, taken = {}, set()
    for split, words in SPLIT_FOLDERS.items():
        names = [name for name in filled if name.lower() in words]
        if len(names) > 1:
            raise InputError(f"{place} has several splits for {split}: {', '.join(names)}", "keep one of them")
        if names:
            given[split] = filled[names[0]]
            taken.add(names[0])
    if "train" not in given:
        raise InputError(f"{place} has no split train but {', '.join(filled)}", "rename one of them to train")
    left = [name for name in filled if name not in taken]
    return given, [f"splits left out: {', '.join(left)}"] if left else []


def _named(place: str, split: str, one: Any, label: str) -> Named:
    """Read the labels of a split: indices into the names that the set declares, or words and numbers as they are."""
    if label not in one.features:
        raise InputError(f"the split {split} of {place} has no column {label!r}", nearest(label, one.features))
    column = one.select_columns([label]).with_format("arrow")[:].column(0)
    declared = getattr(one.features[label], "names", None)
    if declared is None:
        encoded = pc.dictionary_encode(column.cast(pa.large_string())).combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # which older versions of Arrow return
            encoded = encoded.chunk(0)
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return Named(codes, tuple(encoded.dictionary.to_pylist()))
    codes = column.cast(pa.int64()).fill_null(-1).to_numpy()
    beyond = np.flatnonzero(codes >= len(declared))
    _none(place, split, beyond, "a label beyond the names of the classes", [int(codes[i]) for i in beyond[:SHOWN]])
    return Named(codes, tuple(declared), declared=True)


def _must_hold_images(place: str, split: str, table: Any, roots: tuple[Path, ...]) -> None:
    """Refuse rows that hold neither bytes nor the path of a file below one of the roots."""
    cells = table[:].column(0)
    without = np.flatnonzero(np.asarray(pc.is_null(pc.struct_field(cells, "bytes"))))
    if not len(without):
        return
    fields = {cells.type.field(i).name for i in range(cells.type.num_fields)}
    paths = pc.struct_field(cells, "path").take(pa.array(without)) if "path" in fields else pa.nulls(len(without))
    paths = paths.cast(pa.large_string())
    paths = paths.combine_chunks() if isinstance(paths, pa.ChunkedArray) else paths
    empty = np.flatnonzero(np.asarray(pc.is_null(paths)))
    _none(place, split, without[empty], "no image", ["" for _ in range(SHOWN)])
    seen = [inside(root, paths) for root in roots]
    missing, outside = ([set(getattr(one, what)) for one in seen] for what in ("missing", "outside"))
    strays = set.intersection(*map(set.union, missing, outside))
    gone = strays & set.union(*missing)
    for stray, what in ((gone, "a path without a file"), (strays, f"a path that leads out of {roots[0]}")):
        places = sorted(stray)
        _none(place, split, without[places], what, [paths[i].as_py() for i in places[:SHOWN]])


def _none(place: str, split: str, places: np.ndarray, what: str, values: list[Any]) -> None:
    if len(places):
        count = f"{len(places):,} row{'s have' if len(places) > 1 else ' has'} {what}"
        told = rows(places.tolist(), values)
        raise InputError(f"{place}, split {split}: {count}: {told}", f"mend the data set ({COUNTED})")
