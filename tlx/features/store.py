"""Store: the rows of one trunk, by address, shared by everybody who reads and writes the same folder.

Nobody waits for anybody: a shard never changes, is written whole under a name of its own, and who finds it damaged
removes it and computes it again. Two writers of the same rows write them twice.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import numpy as np

from tlx import caches
from tlx.errors import MachineError
from tlx.features.rows import Rows
from tlx.features.shard import ID_BYTES, SUFFIX, DamagedError, Shard, open_shard, write_shard

log = logging.getLogger("tlx")

BESIDES = 1024  # files that are open besides a bank's: of images, logs, libraries
KEY = f"S{ID_BYTES}"  # text sorts fastest; all are of one length, so that trailing zeros count


class Store:
    """Rows (N, D) float32 by address (N, 16) uint8.

    Args:
        folder: Where they lie; None keeps them in this process's memory. A folder that cannot be written is told of in
            ``trouble``, and what follows is kept in memory.
        width: D.
    """

    def __init__(self, folder: Path | None, width: int) -> None:
        self.folder = folder
        self.width = width
        self.trouble: str | None = None
        self.damaged = 0  # files found torn or altered, and removed
        self._shards: list[Shard] = []
        self._proven: set[int] = set()
        self._ids = np.empty(0, KEY)  # sorted, of all shards
        self._places = np.empty((0, 2), np.int64)  # shard and position of each
        self.refresh()

    def refresh(self) -> None:
        """See what others have written since."""
        if self.folder is None or not self.folder.is_dir():
            return
        known = {shard.path for shard in self._shards}
        paths = sorted(self.folder.glob(f"*{SUFFIX}"))
        _allow_files(len(paths))
        for path in paths:
            if path not in known:
                self._open(path)
        self._index()

    def add(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Keep rows (n, D) under addresses (n, 16)."""
        ids, rows = np.ascontiguousarray(ids), np.ascontiguousarray(rows, np.float32)
        if len(ids) and not self._kept(ids, rows):
            self._shards.append(Shard(ids, rows))
        self._index()

    def missing(self, ids: np.ndarray) -> np.ndarray:
        """Return the indices of those addresses (N, 16) that are not there, each address once; prove what is there."""
        while True:
            place = self._find(ids)
            unproven = set(np.unique(place[place[:, 0] >= 0, 0]).tolist()) - self._proven
            if not (bad := [number for number in sorted(unproven) if not self._prove(number)]):
                break
            self._shards = [shard for number, shard in enumerate(self._shards) if number not in bad]
            self._proven = set()
            self._index()
        absent = np.flatnonzero(place[:, 0] < 0)
        _, first = np.unique(_keys(ids[absent]), return_index=True)
        return absent[np.sort(first)]

    def rows(self, ids: np.ndarray) -> Rows:
        """Return the rows at addresses (N, 16), all of which are there."""
        place = self._find(ids)
        if len(place) and place[:, 0].min() < 0:
            raise KeyError("rows that are not there")
        return Rows(tuple(self._shards), place[:, 0], place[:, 1], self.width)

    def _kept(self, ids: np.ndarray, rows: np.ndarray) -> bool:
        if self.folder is None or self.trouble is not None:
            return False
        try:
            caches.make(self.folder.parent)
            self.folder.mkdir(exist_ok=True)
            path = write_shard(self.folder, ids, rows)
        except (OSError, MachineError) as error:
            self.trouble = error.what if isinstance(error, MachineError) else f"cannot write {self.folder}: {error}"
            log.warning("features are kept in memory: %s", self.trouble)
            return False
        return path in {shard.path for shard in self._shards} or self._open(path)

    def _open(self, path: Path) -> bool:
        try:
            shard = open_shard(path)
            if shard.rows.shape[1] != self.width:
                raise DamagedError(f"{path} holds rows of another width")
        except DamagedError as error:
            self._remove(path, error)
        except OSError as error:  # cleaned up in this moment, or closed to us
            log.info("no features from %s: %s", path, error)
        else:
            self._shards.append(shard)
            return True
        return False

    def _prove(self, number: int) -> bool:
        shard = self._shards[number]
        try:
            shard.prove()
        except DamagedError as error:
            assert shard.path is not None
            self._remove(shard.path, error)
            return False
        self._proven.add(number)
        shard.release()
        return True

    def _remove(self, path: Path, error: DamagedError) -> None:
        self.damaged += 1
        log.warning("%s; it is removed, and computed again", error)
        try:
            path.unlink(missing_ok=True)
        except OSError as refused:
            log.warning("cannot remove %s: %s", path, refused)

    def _index(self) -> None:
        if sum(len(shard.ids) for shard in self._shards) == len(self._ids) and self._shards:
            return
        keys = [_keys(shard.ids) for shard in self._shards] or [self._ids[:0]]
        places = [np.column_stack([np.full(len(k), i), np.arange(len(k))]) for i, k in enumerate(keys)]
        together = np.concatenate(keys)
        order = np.argsort(together, kind="stable")
        self._ids, self._places = together[order], np.concatenate(places)[order]

    def _find(self, ids: np.ndarray) -> np.ndarray:
        """Return shard and position of each address (N, 2), -1 where it is not there."""
        found = np.full((len(ids), 2), -1, np.int64)
        if len(self._ids) and len(ids):
            keys = _keys(ids)
            at = np.searchsorted(self._ids, keys).clip(max=len(self._ids) - 1)
            same = self._ids[at] == keys
            found[same] = self._places[at[same]]
        return found


def _allow_files(count: int) -> None:
    """Let this process open so many files besides those of others: a map may keep its file open."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + BESIDES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _keys(ids: np.ndarray) -> np.ndarray:
    """View addresses (N, 16) uint8 as one value each, which sort and compare as bytes."""
    return np.ascontiguousarray(ids).view(KEY).reshape(-1)
