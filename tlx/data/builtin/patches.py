"""Patches of photographs, to be told by texture and shape: a set that is unlike letters.

One photograph is one class. It is cut into square cells, each of which belongs to one split; no patch leaves its cell,
so that no pixel is seen in two splits. Every patch has its histogram equalised: brightness and contrast tell nothing.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlx.data.builtin.drawn import SIZE, SPLITS, Drawn
from tlx.data.builtin.photographs import photographs
from tlx.data.builtin.resample import Floats, bilinear

_CELL: Final = 80  # pixels: a patch at scale 1.15 fits in at any angle
_SHARES: Final = (0.55, 0.15, 0.3)  # of the cells, in the order of SPLITS
_SCALES: Final = (0.75, 1.15)  # pixels of the photograph, to one of the patch
_CHUNK: Final = 128  # patches drawn by one generator, always in full
_TRIES: Final = 8  # places considered for a patch
_FLATTEST: Final = 6.0  # grey levels; the least standard deviation of a cell, and of a patch
_PLATEAU: Final = 0.15  # of a cell's pixels may share one grey level; equalised, over- and underexposure look alike


class _Cells(NamedTuple):
    """The cells of one split: `grey` (K, _CELL, _CELL); class c owns rows `first[c]` up to `first[c] + number[c]`.

    `sums` (2, K, _CELL + 1, _CELL + 1) holds the sums of grey and of its square over all rectangles from the corner.
    """

    grey: Floats
    first: NDArray[np.intp]
    number: NDArray[np.intp]
    sums: NDArray[np.float64]


def draw(seed: int, per_class: int, val_per_class: int, test_per_class: int, rotate: bool) -> Drawn:
    """Cut patches; the classes take turns within each split, and a smaller set begins a larger one.

    With `rotate` at any angle and a scale of 0.75 to 1.15, else upright and at scale 1.
    """
    photos = photographs()
    cells = _cells(np.random.default_rng(np.random.SeedSequence([seed, 3])), list(photos.values()))
    classes = len(photos)
    images, labels = {}, {}
    for number, (split, each) in enumerate(zip(SPLITS, (per_class, val_per_class, test_per_class), strict=True)):
        labels[split] = np.arange(each * classes, dtype=np.int64) % classes
        images[split] = np.empty((each * classes, SIZE, SIZE, 3), np.uint8)
        for start in range(0, each * classes, _CHUNK):
            entropy = np.random.SeedSequence([seed, 4, int(rotate), number, start // _CHUNK])
            wanted = images[split][start : start + _CHUNK]
            rng = np.random.Generator(np.random.SFC64(entropy))
            wanted[:] = _chunk(rng, cells[split], start, rotate)[: len(wanted), :, :, None]
    return Drawn(tuple(photos), images, labels)


def _cells(rng: np.random.Generator, photos: list[Floats]) -> dict[str, _Cells]:
    """Deal the cells of every photograph out to the splits, after those that show next to nothing."""
    dealt: dict[str, list[Floats]] = {split: [] for split in SPLITS}
    for photo in photos:
        rows, columns = photo.shape[0] // _CELL, photo.shape[1] // _CELL
        grid = photo[: rows * _CELL, : columns * _CELL].reshape(rows, _CELL, columns, _CELL)
        cells = grid.transpose(0, 2, 1, 3).reshape(-1, _CELL, _CELL)
        cells = rng.permutation([cell for cell in cells if _is_lively(cell)])
        ends = np.rint(np.cumsum(_SHARES[:-1]) * len(cells)).astype(int)
        for split, part in zip(SPLITS, np.split(cells, ends), strict=True):
            dealt[split].append(part)
    return {split: _gathered(parts) for split, parts in dealt.items()}


def _is_lively(cell: Floats) -> bool:
    commonest = np.bincount(np.rint(cell).astype(np.intp).ravel()).max()
    return bool(cell.std() >= _FLATTEST and commonest <= _PLATEAU * cell.size)


def _gathered(classes: list[Floats]) -> _Cells:
    grey = np.concatenate(classes)
    number = np.array([len(cells) for cells in classes])
    sums = np.zeros((2, len(grey), _CELL + 1, _CELL + 1))
    sums[:, :, 1:, 1:] = np.stack([grey, grey**2]).cumsum(2, dtype=float).cumsum(3)
    return _Cells(grey, np.cumsum(number) - number, number, sums)


def _chunk(rng: np.random.Generator, cells: _Cells, start: int, rotate: bool) -> NDArray[np.uint8]:
    """Patches `start` to `start + _CHUNK` of a split, (_CHUNK, SIZE, SIZE)."""
    place = np.arange(start, start + _CHUNK)
    label, turn = place % len(cells.first), place // len(cells.first)
    # A class's patches take turns in its cells: a small set then covers the photograph.
    which = cells.first[label] + turn % cells.number[label]
    angle = rng.random(_CHUNK, np.float32) * np.float32(2 * np.pi if rotate else 0)
    low, high = _SCALES if rotate else (1.0, 1.0)
    scale = np.float32(low) + np.float32(high - low) * rng.random(_CHUNK, np.float32)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    reach = (np.abs(cos) + np.abs(sin)) * np.float32((SIZE - 1) / 2)  # of the patch, from its centre
    x, y = _centres(rng, cells.sums[:, which], reach)
    if not rotate:
        x, y = np.rint(x - reach) + reach, np.rint(y - reach) + reach  # on whole pixels, where nothing is smoothed
    cos, sin, x, y = (one[:, None, None] for one in (cos, sin, x, y))
    across = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
    down = across[:, None]
    return _equalised(bilinear(cells.grey, which, x + cos * across - sin * down, y + sin * across + cos * down))


def _centres(rng: np.random.Generator, sums: NDArray[np.float64], reach: Floats) -> tuple[Floats, Floats]:
    """For each patch, the first of some random places in its cell that is not near-uniform, else the liveliest."""
    room = np.float32((_CELL - 1) / 2) - reach
    offset = rng.random((2, _CHUNK, _TRIES), np.float32) * 2 - 1
    x, y = np.float32((_CELL - 1) / 2) + room[:, None] * offset
    # The spread of grey in the upright square about each place.
    half = SIZE // 2
    left, top = np.clip(np.rint([x, y]).astype(np.intp) - half, 0, _CELL - 2 * half)
    row = np.arange(_CHUNK)[:, None]
    right, bottom = left + 2 * half, top + 2 * half
    total = sums[:, row, bottom, right] - sums[:, row, top, right]
    total -= sums[:, row, bottom, left] - sums[:, row, top, left]
    mean, square = total / (2 * half) ** 2
    variance = square - mean**2
    alive = variance >= _FLATTEST**2
    chosen = np.where(alive.any(1), alive.argmax(1), variance.argmax(1))
    return x[row[:, 0], chosen], y[row[:, 0], chosen]


def _equalised(patches: Floats) -> NDArray[np.uint8]:
    """Every grey level becomes the share of its patch that is darker: all histograms are flat, as far as ties allow."""
    count, pixels = len(patches), SIZE * SIZE
    level = np.rint(patches).astype(np.intp) + 256 * np.arange(count)[:, None, None]
    histogram = np.bincount(level.ravel(), minlength=256 * count).reshape(count, 256)
    middle = np.cumsum(histogram, 1) - histogram / 2
    return np.asarray(np.rint(middle * (255 / pixels)).ravel()[level], np.uint8)
