"""Shard: some rows of features and their addresses in one file, written whole or not at all, proven before it is used.

A file is in the safetensors format: ``ids`` (n, 16) uint8 and ``rows`` (n, D) float32, with a hash of both beside them,
which names the file as well: equal content is one file, whoever writes it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlx.storage import write_bytes

ID_BYTES = 16
SUFFIX = ".safetensors"
UNTRACKED: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}  # a map keeps no file open


class DamagedError(Exception):
    """A file that is torn, altered, or no shard at all."""


@dataclass(frozen=True)
class Shard:
    """Addresses (n, 16) uint8 and rows (n, D) float32; of a file, both are mapped and take no memory until read."""

    ids: np.ndarray
    rows: np.ndarray
    path: Path | None = None
    sha256: str = ""
    mapped: mmap.mmap | None = None

    def prove(self) -> None:
        """Read everything once.

        Raises:
            DamagedError: The content is not what was written.
        """
        if self.path is not None and _hash(self.ids, self.rows) != self.sha256:
            raise DamagedError(f"{self.path} has been altered")

    def release(self) -> None:
        """Give the memory back that reading mapped rows has taken; they are read again from the file."""
        if self.mapped is not None and hasattr(self.mapped, "madvise"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def write_shard(folder: Path, ids: np.ndarray, rows: np.ndarray) -> Path:
    """Write rows and their addresses into ``folder``.

    Raises:
        MachineError: The folder cannot be written.
    """
    from safetensors.numpy import save

    sha256 = _hash(ids, rows)
    path = folder / f"{sha256[:32]}{SUFFIX}"
    content = save({"ids": ids, "rows": rows}, {"sha256": sha256})
    write_bytes(path, content)
    return path


def open_shard(path: Path) -> Shard:
    """Map a file; its content is not read yet, and so not proven.

    Raises:
        DamagedError: It is torn, or no shard.
        OSError: It cannot be read; FileNotFoundError: somebody has cleaned up.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 8:
            raise DamagedError(f"{path} is torn")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, **UNTRACKED)
    try:
        start = 8 + int.from_bytes(mapped[:8], "little")
        header: Any = json.loads(mapped[8:start]) if start <= size else None
        sha256 = header["__metadata__"]["sha256"]
        ids = _array(mapped, start, header["ids"], "U8", np.dtype("u1"))
        rows = _array(mapped, start, header["rows"], "F32", np.dtype("<f4"))
    except (ValueError, KeyError, TypeError, OverflowError):
        raise DamagedError(f"{path} is torn, or holds no features") from None
    if ids.shape != (len(rows), ID_BYTES) or rows.ndim != 2 or path.stem != sha256[:32]:
        raise DamagedError(f"{path} has been altered")
    return Shard(ids, rows, path, sha256, mapped)


def _array(mapped: mmap.mmap, start: int, told: Any, name: str, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the part of a file that its header tells of."""
    shape, (first, end) = tuple(told["shape"]), told["data_offsets"]
    count = int(np.prod(shape, dtype=np.int64))
    if told["dtype"] != name or end - first != count * dtype.itemsize or min(first, *shape) < 0:
        raise ValueError(name)
    return np.frombuffer(mapped, dtype, count, start + first).reshape(shape)


def _hash(ids: np.ndarray, rows: np.ndarray) -> str:
    digest = hashlib.sha256(f"{ids.shape} {rows.shape}".encode())
    digest.update(np.ascontiguousarray(ids).data)
    digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()
