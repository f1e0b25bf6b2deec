"""Table: a CSV or Parquet file that lists images with their labels and, if need be, splits and groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tlx.config.groups import TableData
from tlx.data.decode import pixels
from tlx.data.found import Found
from tlx.data.own.classes import Named, class_map, labels
from tlx.data.own.columns import read_columns
from tlx.data.own.folder import SPLIT_FOLDERS
from tlx.data.own.inside import inside
from tlx.data.own.names import Names
from tlx.data.own.rows import COUNTED, SHOWN, rows
from tlx.data.source import SPLITS, FileImages, Images
from tlx.errors import InputError

IMAGE, LABEL, SPLIT, GROUP = (f"data.{name}_column" for name in ("image", "label", "split", "group"))


def open_table(config: TableData) -> Found:
    """Read the table ``config.file``; its images keep the order of its rows.

    Raises:
        InputError: No table, a column that it lacks, and whatever is wrong in a row, which is named.
    """
    file = Path(config.file).expanduser().absolute()
    asked = {IMAGE: config.image_column, LABEL: config.label_column, SPLIT: config.split_column,
             GROUP: config.group_column}  # fmt: skip
    columns = read_columns(file, {key: name for key, name in asked.items() if name is not None})
    root = file.parent if config.root is None else Path(config.root).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"data.root={root} is no folder", "give the one that the table's paths start from")
    # Words that come again and again are kept once each; taken out of the columns, so that their text is let go.
    coded = {key: _coded(columns.pop(key)) for key in list(columns) if key != IMAGE}
    found = _Table(file, root, columns.pop(IMAGE).combine_chunks(), coded).found(pixels(config.max_megapixels))
    pa.default_memory_pool().release_unused()
    return found


def _coded(column: pa.ChunkedArray) -> Named:
    """Number the words of a column, without the blanks around them."""
    encoded = column.dictionary_encode().unify_dictionaries()
    words = [word.strip() for word in encoded.chunk(0).dictionary.to_pylist()] if encoded.num_chunks else []
    number = {word: index for index, word in enumerate(dict.fromkeys(words))}
    codes = np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in encoded.chunks)])
    return Named(np.array([number[word] for word in words], dtype=np.int32)[codes.astype(np.int32)], tuple(number))


class _Table:
    """A table's paths, its other columns by the keys that name them, and how what is wrong with a row is told."""

    def __init__(self, file: Path, root: Path, given: pa.LargeStringArray, columns: dict[str, Named]) -> None:
        self.file = file
        self.root = root
        self.given = given
        self.columns = columns

    def found(self, max_pixels: int) -> Found:
        """Check every row, then part the rows by their splits."""
        if not len(self.given):
            raise InputError(f"the table {self.file} has no rows", "list images below its header")
        self._must_be_filled()
        splits = self._splits()
        named = self.columns[LABEL]
        classes = class_map(Named(named.codes[splits["train"]], named.names))
        numbers = labels(named, classes)
        mend = "add images of it to train, or remove these"
        self._none(np.flatnonzero(numbers < 0), "a label that train lacks", mend, LABEL)
        paths = self._paths()
        notes = self._twice(paths, numbers, splits, classes)
        given: dict[str, Images] = {
            split: FileImages(self.root, packed(paths.take(pa.array(places))), numbers[places], max_pixels)
            for split, places in splits.items()
        }
        groups = {split: self.columns[GROUP].codes[places] for split, places in splits.items() if GROUP in self.columns}
        names = self.columns[GROUP].names if GROUP in self.columns else ()
        return Found(str(self.file), classes, given, groups, names, notes=notes, split=SPLIT in self.columns)

    def _none(self, places: np.ndarray | list[int], what: str, mend: str, shown: str) -> None:
        """Refuse the rows at ``places``, if there are any, and show what they hold in a column."""
        if len(places):
            values = [self._value(shown, int(place)) for place in places[:SHOWN]]
            count = f"{len(places):,} row{'s have' if len(places) > 1 else ' has'} {what}"
            raise InputError(f"{self.file}: {count}: {rows(list(places), values)}", f"{mend} ({COUNTED})")

    def _value(self, key: str, place: int) -> str:
        if key == IMAGE:
            return str(self.given[place])
        return self.columns[key].names[self.columns[key].codes[place]]

    def _must_be_filled(self) -> None:
        blank = np.flatnonzero(pc.equal(pc.binary_length(self.given), 0).to_numpy(zero_copy_only=False))
        self._none(blank, "no path", "fill it in", IMAGE)
        for key, column in self.columns.items():
            if "" in column.names:
                blank = np.flatnonzero(column.codes == column.names.index(""))
                self._none(blank, f"no {key.removeprefix('data.').removesuffix('_column')}", "fill it in", IMAGE)

    def _splits(self) -> dict[str, np.ndarray]:
        """List the rows of each split that is there."""
        if SPLIT not in self.columns:
            return {"train": np.arange(len(self.given))}
        synonyms = {word: split for split, words in SPLIT_FOLDERS.items() for word in words}
        column = self.columns[SPLIT]
        known = [SPLITS.index(s) if (s := synonyms.get(word.lower())) else -1 for word in column.names]
        split = np.array(known)[column.codes]
        self._none(np.flatnonzero(split < 0), "an unknown split", "write train, val or test", SPLIT)
        found = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
        if not len(found["train"]):
            raise InputError(f"{self.file} has no rows of the split train", f"check {SPLIT}")
        return {name: places for name, places in found.items() if len(places)}

    def _paths(self) -> pa.LargeStringArray:
        """Make all paths relative to the root, below which each must be a file."""
        found = inside(self.root, self.given)
        self._none(found.outside, f"a path that leads out of {self.root}", "give data.root=PATH above it", IMAGE)
        mend = f"check data.root={self.root} and {IMAGE}"
        self._none(found.missing, "an image that is missing", mend, IMAGE)
        return found.paths

    def _twice(
        self, paths: pa.LargeStringArray, numbers: np.ndarray, splits: dict[str, np.ndarray], classes: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Refuse a path with two labels; of one that is listed twice under one, make a note."""
        coded = paths.dictionary_encode()
        if len(coded.dictionary) == len(paths):
            return ()
        _, first, inverse = np.unique(coded.indices.to_numpy(), return_index=True, return_inverse=True)
        first = first[inverse]  # of every row, the first with its path
        if len(other := np.flatnonzero(numbers != numbers[first])):
            told = [f"{paths[i]}: {classes[numbers[i]]}, in row {first[i] + 1} {classes[numbers[first[i]]]}"
                    for i in other[:SHOWN].tolist()]  # fmt: skip
            count = f"{len(other):,} row{'s list images' if len(other) > 1 else ' lists an image'} again"
            what = f"{self.file}: {count} under another label: {rows(other.tolist(), told)}"
            raise InputError(what, f"keep one label of each ({COUNTED})")
        split = np.zeros(len(paths), dtype=np.int64)
        for number, places in enumerate(splits.values()):
            split[places] = number
        again, apart = int((first != np.arange(len(first))).sum()), int((split != split[first]).sum())
        notes = [f"rows that list an image again: {again:,}"]
        if apart:
            notes.append(f"{apart:,} of them in another split: what is tested there was trained on")
        return tuple(notes)


def packed(paths: pa.LargeStringArray) -> Names:
    """Take names over as they lie in the array's memory: where each begins, then all of them."""
    _, starts, content = paths.buffers()
    bounds = np.frombuffer(starts, np.int64)[paths.offset : paths.offset + len(paths) + 1]
    return Names(content[bounds[0] : bounds[-1]].to_pybytes(), bounds[1:] - bounds[0])
