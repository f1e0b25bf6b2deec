"""Answers: what a network says of unlabelled images, a row an image, written while they are computed."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path

import numpy as np

from tlx.results.spreadsheet import cell
from tlx.storage import cannot_write

TABLE, LINES, FEATURES = "predictions.csv", "predictions.jsonl", "embeddings.npy"
PARTIAL = ".partial"  # behind a file's name until it is whole
HEADER = 128  # bytes before an array's first row, however many rows there are


@dataclass(frozen=True)
class Answer:
    """What a network says of the images ``first`` to ``last`` - 1: ``faults`` by index, and of the M others (N = M).

    ``classes`` and ``probabilities`` (M, k) are the likeliest, ``features`` (M, D) or (M, 0); ``index`` (M,) rises.
    """

    first: int
    last: int
    faults: dict[int, str]
    index: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray

    @property
    def wrong(self) -> dict[int, str]:
        """What is wrong with images, by index: they could not be read, or the network's outputs are of no use."""
        finite = np.isfinite(self.probabilities).all(1)
        return {**self.faults, **dict.fromkeys(self.index[~finite].tolist(), "the network's outputs are not finite")}

    def rows(self) -> Iterator[tuple[int, str, list[int], list[float]]]:
        """Yield of every image its index, what is wrong with it, or "", its likeliest classes and probabilities."""
        wrong, at = self.wrong, {index: place for place, index in enumerate(self.index.tolist())}
        classes, shares = self.classes.tolist(), self.probabilities.tolist()
        for index in range(self.first, self.last):
            if index in wrong:
                yield index, wrong[index], [], []
            else:
                yield index, "", classes[at[index]], shares[at[index]]


class Answers:
    """The files of one process of ``world``, each of which answers for a stretch of all ``count`` images.

    Whole rows are written at once, under names that end in ``.partial``; ``finish`` puts the stretches together and
    gives the files their names. What ends a pass before leaves what is written: complete lines.

    Raises:
        MachineError: The disk is full, the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        name: Callable[[int], str],
        classes: Sequence[str],
        count: int,
        top: int,
        width: int = 0,
        place: tuple[int, int] = (0, 1),
    ) -> None:
        self.folder, self.name, self.count, self.top, self.width = folder, name, count, top, width
        self.rank, self.world = place
        self.done, self.faults = 0, 0
        self._cells = [cell(shown(name)) for name in classes]
        self._keys = [quoted(name) for name in classes]
        self._files = {file: _Partial(self._part(file, self.rank)) for file in self.files}
        if self.rank == 0:
            self._files[TABLE].add(_csv([columns(top)]))
            if width:
                self._files[FEATURES].add(_header(count, width))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files."""
        return (TABLE, LINES, FEATURES) if self.width else (TABLE, LINES)

    def add(self, answer: Answer) -> None:
        """Write the rows of a stretch that follows the last one."""
        cells, keys, empty = self._cells, self._keys, [""] * (2 * self.top - 2)
        rows: list[list[str]] = []
        lines: list[str] = []
        for index, told, best, shares in answer.rows():
            name = self.name(index)
            if told:
                self.faults += 1
                rows.append([cell(shown(name)), "", "", cell(shown(told)), *empty])
                lines.append(
                    f'{{"image": {quoted(name)}, "predicted": null, "probability": null, "probabilities": {{}}, '
                    f'"error": {quoted(told)}}}\n'
                )
                continue
            given = [f"{share:.6f}" for share in shares]
            row = [cell(shown(name)), cells[best[0]], given[0], ""]
            for number, share in zip(best[1:], given[1:], strict=True):
                row += (cells[number], share)
            rows.append(row)
            pairs = ", ".join([f"{keys[number]}: {share}" for number, share in zip(best, given, strict=True)])
            lines.append(
                f'{{"image": {quoted(name)}, "predicted": {keys[best[0]]}, "probability": {given[0]}, '
                f'"probabilities": {{{pairs}}}, "error": ""}}\n'
            )
        if self.width:
            features = np.full((answer.last - answer.first, self.width), np.nan, "<f4")
            features[answer.index - answer.first] = answer.features.reshape(len(answer.index), -1)
            self._files[FEATURES].add(features.tobytes())
        self._files[TABLE].add(_csv(rows))
        self._files[LINES].add("".join(lines).encode("ascii"))
        self.done += answer.last - answer.first

    def close(self) -> None:
        """Leave what is written as it is; the array's header then tells how many rows there are."""
        if self.rank == 0 and self.width and self.world == 1 and self.done < self.count:
            self._files[FEATURES].begin_with(_header(self.done, self.width))
        for file in self._files.values():
            file.close()

    def finish(self) -> None:
        """Put the stretches of all processes together, in the first of them, and give the files their names."""
        self.close()
        for file in self.files:
            whole = self._part(file, 0)
            try:
                with whole.open("ab") as target:
                    for rank in range(1, self.world):
                        with self._part(file, rank).open("rb") as part:
                            shutil.copyfileobj(part, target, 2**20)
                    os.fsync(target.fileno())
                for rank in range(1, self.world):
                    self._part(file, rank).unlink()
                whole.replace(self.folder / file)
            except OSError as error:
                raise cannot_write(self.folder / file, error, "output") from error

    def _part(self, file: str, rank: int) -> Path:
        return self.folder / (f"{file}{PARTIAL}.{rank}" if rank else f"{file}{PARTIAL}")


def columns(top: int) -> list[str]:
    """Name the columns: the likeliest class, what went wrong, then the next likely classes."""
    others = [column for rank in range(2, top + 1) for column in (f"predicted_{rank}", f"probability_{rank}")]
    return ["image", "predicted", "probability", "error", *others]


def shown(text: str) -> str:
    """Return a text as UTF-8 can hold it; of names in another encoding the bytes are shown as in the JSON lines."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _header(count: int, width: int) -> bytes:
    """Return what an ``.npy`` file of (count, width) float32 begins with (NumPy's format 1.0)."""
    described = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {width}), }}"
    start = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little")
    return start + described.encode().ljust(HEADER - 11) + b"\n"


class _Partial:
    """A file to which whole rows are added: what does not fit leaves none of them behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise cannot_write(path, error, "output") from error
        self._end = 0

    def add(self, content: bytes) -> None:
        """Write rows."""
        left = memoryview(content)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._file.truncate(self._end)
            raise cannot_write(self.path, error, "output") from error
        self._end += len(content)

    def begin_with(self, content: bytes) -> None:
        """Replace the first bytes."""
        self._file.seek(0)
        self._file.write(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
