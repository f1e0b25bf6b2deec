"""Unlabelled: images that a network shall name: one file, a folder, what a pattern matches, or a table."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tlx.data.decode import decode
from tlx.data.fault import FOREIGN, BadImageError, head_of
from tlx.data.own.folder import ENDINGS
from tlx.data.own.links import must_stay
from tlx.data.own.names import Names
from tlx.data.source import naming
from tlx.errors import InputError

TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
# Nobody trained on the others; whoever points at them means them.
READ = ENDINGS | {".avif", ".dib", ".gif", ".jfif", ".jp2"}
GIVE = "give an image, a folder, a pattern in quotes such as 'photos/*.jpg', or a table (CSV, Parquet)"


class Unlabelled:
    """Image files below a root, in the order in which they are named.

    ``names`` are what they are called by, ``paths`` where they are: relative to the root, or absolute.
    """

    def __init__(
        self, root: Path, paths: Sequence[str], names: Sequence[str], max_pixels: int, aside: str = ""
    ) -> None:
        self.root = root
        self.paths = paths
        self.names = names
        self.max_pixels = max_pixels
        self.aside = aside  # what was left aside, in words

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return what an image is called by."""
        return self.names[index]

    def read(self, index: int, least: int | None = None) -> Image.Image:
        """Decode a file (see decode.py).

        Raises:
            BadImageError: Names the file that cannot be decoded, or that is none.
            UnreadableImageError: Names the file that may not be read.
        """
        path = self.root / self.paths[index]
        with naming(str(path), lambda: head_of(path)):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):  # what is read from a pipe may never end
                detail = "a folder" if stat.S_ISDIR(mode) else "no file"
                raise BadImageError(f"the image {path} cannot be decoded ({FOREIGN}: {detail})", "", FOREIGN, detail)
            return decode(path, least, self.max_pixels)


def open_unlabelled(images: str, column: str, root: str | None, links: str, max_pixels: int) -> Unlabelled:
    """Find the images that ``images`` means; those of a table keep the order of its rows, all others are sorted.

    Args:
        images: A file, a folder, a pattern or a table; what is there under this very name is no pattern.
        column: Of a table, the column of the paths.
        root: Of a table, what its paths are relative to and may not lead out of; its own folder if not given.
        links: Of a folder: links that lead out of it are refused (``inside``), or followed (``anywhere``).
        max_pixels: Larger images are not decoded.

    Raises:
        InputError: Nothing there, no image among it, a table's column or path that does not fit.
    """
    path = Path(images).expanduser()
    try:
        if path.is_dir():
            return _folder(path, links, max_pixels)
        if path.is_file() and path.suffix.lower() in TABLES:
            return _table(path.absolute(), column, root, max_pixels)
        if os.path.lexists(path):
            return Unlabelled(Path(), (str(path),), (str(path),), max_pixels)
    except PermissionError as error:
        raise InputError(f"{error.filename} may not be read", "change its permissions") from None
    if glob.has_magic(images):
        return _pattern(str(path), max_pixels)
    raise InputError(f"images={images} does not exist", GIVE)


def _folder(folder: Path, links: str, max_pixels: int) -> Unlabelled:
    """List what has an image's ending anywhere below a folder; it is named from there."""
    found: list[bytes] = []
    skipped: Counter[str] = Counter()
    hidden, unfollowed, start = 0, 0, len(os.fsencode(os.path.join(folder, "")))  # noqa: PTH118
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    hidden += 1
                    continue
                inner, ending = entry.is_dir(follow_symlinks=False), Path(entry.name).suffix.lower()
                if inner:
                    waiting.append(entry.path)
                if ending in READ:  # also a folder that is called like an image: nobody should miss one
                    must_stay(entry, folder, links, ("images", "links"))
                    found.append(os.fsencode(entry.path)[start:])
                elif entry.is_symlink() and Path(entry.path).is_dir():
                    unfollowed += 1
                elif not inner:
                    skipped[ending or "without an ending"] += 1
    aside = [f"{count:,} {ending}" for ending, count in sorted(skipped.items())]
    aside += [f"{count:,} {what}" for count, what in ((hidden, "hidden"), (unfollowed, "linked folders")) if count]
    told = ", ".join(aside)
    if not found:
        what = f"images={folder} holds no images" + (f", but {told}" if told else "")
        raise InputError(what, f"their names end in one of {', '.join(sorted(READ))}")
    names = _packed(found)
    return Unlabelled(folder.absolute(), names, names, max_pixels, told)


def _pattern(pattern: str, max_pixels: int) -> Unlabelled:
    """List every file that a pattern matches, whatever its ending: who says so means it."""
    matched = glob.iglob(pattern, recursive=True)  # noqa: PTH207, whose patterns may not be absolute
    found = [os.fsencode(path) for path in matched if Path(path).suffix.lower() in READ or not Path(path).is_dir()]
    if not found:
        raise InputError(f"no file matches images={pattern}", GIVE)
    names = _packed(found)
    return Unlabelled(Path().absolute(), names, names, max_pixels)


def _packed(found: list[bytes]) -> Names:
    found.sort()
    return Names(b"".join(found), np.cumsum([len(name) for name in found], dtype=np.int64))


def _table(file: Path, column: str, root: str | None, max_pixels: int) -> Unlabelled:
    import pyarrow.compute as pc

    from tlx.data.own.columns import read_columns
    from tlx.data.own.inside import inside
    from tlx.data.own.rows import COUNTED, rows
    from tlx.data.own.table import packed

    given = read_columns(file, {"image_column": column})["image_column"].combine_chunks()
    if not len(given):
        raise InputError(f"the table {file} has no rows", "list images below its header")
    start = file.parent if root is None else Path(root).expanduser().absolute()
    if not start.is_dir():
        raise InputError(f"root={start} is no folder", "give the one that the table's paths start from")

    def refuse(places: list[int], what: str, mend: str) -> None:
        if places:
            count = f"{len(places):,} row{'s have' if len(places) > 1 else ' has'} {what}"
            told = rows(places, [given[place].as_py() for place in places[:3]])
            raise InputError(f"{file}: {count}: {told}", f"{mend} ({COUNTED})")

    blank = np.flatnonzero(pc.equal(pc.binary_length(given), 0).to_numpy(zero_copy_only=False))
    refuse(blank.tolist(), "no path", "fill it in")
    looked = inside(start, given)  # what is missing becomes a row that says so
    refuse(looked.outside, f"a path that leads out of {start}", "give root=PATH above it")
    return Unlabelled(start, packed(looked.paths), packed(given), max_pixels)
