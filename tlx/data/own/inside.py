"""Inside: which of a table's paths are files below a root, and which are missing or lead out of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ODD = r"(^|/)\.{0,2}(/|$)|[\\:]"  # absolute, doubled or closing slashes, dots; on Windows, its own slashes and drives
LISTED_FROM = 16  # so many paths in a folder are looked up in its listing, fewer one by one
AT_ONCE = 65536  # entries of a folder in Python's hands at a time


@dataclass
class Inside:
    """Paths relative to the root (N,), and the places of those that are missing, or lead out."""

    paths: pa.LargeStringArray
    missing: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)


def inside(root: Path, given: pa.LargeStringArray) -> Inside:
    """Make paths relative to ``root``, and look for the files.

    A file is looked for in the listing of its folder, which tells links from files without a look at each. Only
    what is no plain file in a folder that is itself inside is judged alone.
    """
    top = os.path.realpath(root)
    paths, outside = _relative(root, top, given)
    found = Inside(paths, outside=outside)
    beyond = set(found.outside)
    for folder, places, names in _by_folder(found.paths):
        for place in _doubtful(os.path.join(root, folder), top, places, names):  # noqa: PTH118
            if place in beyond:
                continue
            path = os.path.join(root, found.paths[place].as_py())  # noqa: PTH118
            if not os.path.isfile(path):  # noqa: PTH113
                found.missing.append(place)
            elif not _within(os.path.realpath(path), top):
                found.outside.append(place)
    found.missing.sort()
    found.outside.sort()
    return found


def _relative(root: Path, top: str, given: pa.LargeStringArray) -> tuple[pa.LargeStringArray, list[int]]:
    """Make paths relative, in one go for all that are plain; tell the places of those that lead out."""
    paths = pc.replace_substring_regex(given, f"^{re.escape(str(root) + os.sep)}", "")
    odd = np.flatnonzero(pc.match_substring_regex(paths, ODD).to_numpy(zero_copy_only=False))
    outside, plain = [], []
    for place in odd.tolist():
        path = os.path.normpath(os.path.join(root, given[place].as_py()))  # noqa: PTH118
        if not _within(path, str(root)):  # the root may be a link, and the path name what it links to
            path, base = os.path.realpath(path), top
        else:
            base = str(root)
        if _within(path, base):
            plain.append(os.path.relpath(path, base))
        else:
            outside.append(place)
            plain.append(given[place].as_py())
    if len(odd):
        mask = np.zeros(len(paths), dtype=bool)
        mask[odd] = True
        paths = pc.replace_with_mask(paths, mask, pa.array(plain, pa.large_string()))
    return paths, outside


def _within(path: str, top: str) -> bool:
    return path.startswith(top if top.endswith(os.sep) else top + os.sep)


def _by_folder(paths: pa.LargeStringArray) -> Iterator[tuple[str, np.ndarray, pa.LargeBinaryArray]]:
    """Yield each folder with the places of its paths and their names in it, which no encoding can harm."""
    folders = pc.replace_substring_regex(paths, "(?s)[^/]*$", "").dictionary_encode()
    names = pc.replace_substring_regex(paths, "(?s)^.*/", "").cast(pa.large_binary())
    codes = folders.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(folders.dictionary)))
    names = names.take(pa.array(order))
    start = 0
    for folder, end in zip(folders.dictionary.to_pylist(), ends.tolist(), strict=True):
        yield folder, order[start:end], names[start:end]
        start = end


def _doubtful(folder: str, top: str, places: np.ndarray, names: pa.LargeBinaryArray) -> list[int]:
    """List the places of what is no plain file in a folder that is itself inside."""
    real = os.path.realpath(folder)
    if real != top and not _within(real, top):
        return list(places.tolist())
    if len(places) < LISTED_FROM:
        plain = np.array([_is_plain(os.path.join(os.fsencode(folder), name)) for name in names.to_pylist()])  # noqa: PTH118
    else:
        there = pa.chunked_array(_plain_files(os.fsencode(folder)), pa.large_binary())
        plain = pc.is_in(names, value_set=there).to_numpy(zero_copy_only=False)
    return list(places[~plain].tolist())


def _is_plain(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):  # a path that no file can have, such as one with a zero byte
        return False


def _plain_files(folder: bytes) -> Iterator[pa.LargeBinaryArray]:
    try:
        with os.scandir(folder) as entries:
            plain = (entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            while some := list(islice(plain, AT_ONCE)):
                yield pa.array(some, pa.large_binary())
    except OSError:  # no folder, or one that may not be listed: each path is judged alone
        return
