"""The same labelled images as a folder, a table, shards and a folder of the hub's, in one order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tlx.config import groups as g
from tlx.data.open import open_source
from tlx.data.source import SPLITS, Source
from tlx.errors import EXIT_INPUT, InputError

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 60, 40)}
COUNTS = {"train": 6, "val": 3, "test": 4}


class Row(NamedTuple):
    image: str
    label: str
    split: str


def make_photos(root: Path) -> Path:
    """Make root/SPLIT/CLASS/NN.png: three classes of noise around a colour."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(np.array(colour) + rng.integers(-40, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index:02d}.png")
    return root


def rows_of(root: Path) -> list[Row]:
    """List the images of class folders in the order of ``data=folder``."""
    files = [file for split in SPLITS for file in sorted((root / split).rglob("*.png"))]
    return [Row(str(f.relative_to(root)), f.parent.name, f.parent.parent.name) for f in files]


def _quoted(cell: str) -> str:
    """Quote a cell as RFC 4180 says; the csv module of Python 3.10 refuses NUL."""
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set('",\r\n') else cell


def write_table(file: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = Row._fields) -> Path:
    """Write a CSV or Parquet file, by its ending."""
    if file.suffix == ".csv":
        lines = [",".join(_quoted(str(cell)) for cell in row) for row in (header, *rows)]
        file.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    else:
        import pyarrow as pa
        import pyarrow.parquet

        columns = [list(column) for column in zip(*rows, strict=True)]
        pa.parquet.write_table(pa.table(dict(zip(header, columns, strict=True))), file)
    return file


def data_sets(root: Path, rows: Sequence[Row], **features: Any) -> dict[str, Any]:
    """Make a datasets.Dataset of every split, with the files' bytes and named classes."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    kinds = Features({"image": ImageFeature(), "label": ClassLabel(names=sorted(COLOURS)), **features})
    sets = {}
    for split in dict.fromkeys(row.split for row in rows):
        some = [row for row in rows if row.split == split]
        cells = [{"bytes": (root / r.image).read_bytes(), "path": Path(r.image).name} for r in some]
        sets[split] = Dataset.from_dict({"image": cells, "label": [r.label for r in some]}, features=kinds)
    return sets


def as_folder(root: Path, _: Path) -> g.FolderData:
    return g.FolderData(root=str(root))


def as_csv(root: Path, place: Path) -> g.TableData:
    file = write_table(place / "photos.csv", rows_of(root))
    return g.TableData(file=str(file), root=str(root), split_column="split")


def as_parquet(root: Path, place: Path) -> g.TableData:
    file = write_table(place / "photos.parquet", rows_of(root))
    return g.TableData(file=str(file), root=str(root), split_column="split")


def as_shards(root: Path, place: Path) -> g.ShardsData:
    from datasets import DatasetDict

    DatasetDict(data_sets(root, rows_of(root))).save_to_disk(place / "shards", num_shards=dict.fromkeys(SPLITS, 2))
    return g.ShardsData(root=str(place / "shards"))


def as_hub_folder(root: Path, _: Path) -> g.HubData:
    return g.HubData(name=str(root))


def as_hub_parquet(root: Path, place: Path) -> g.HubData:
    (place / "hub" / "data").mkdir(parents=True)
    for split, one in data_sets(root, rows_of(root)).items():
        name = "validation" if split == "val" else split
        one.to_parquet(place / "hub" / "data" / f"{name}-00000-of-00001.parquet")
    return g.HubData(name=str(place / "hub"))


FORMS: dict[str, Callable[[Path, Path], Any]] = {
    "folder": as_folder,
    "csv": as_csv,
    "parquet": as_parquet,
    "shards": as_shards,
    "hub_folder": as_hub_folder,
    "hub_parquet": as_hub_parquet,
}


def words(config: Any) -> list[str]:
    """Write a config as words of the command line."""
    default = type(config)()
    named = {key: value for key, value in vars(config).items() if value != getattr(default, key)}
    return [f"data={config.kind}", *(f"data.{key}={value}" for key, value in named.items())]


def names(source: Source) -> dict[str, list[str]]:
    return {s: [images.name(i) for i in range(len(images.labels))] for s in SPLITS for images in [source.split(s)]}


def complaint(config: Any) -> str:
    """Open a source that is wrong, and return what is said; always the user's input, in one line."""
    with pytest.raises(InputError) as caught:
        open_source(config, 0)
    assert caught.value.exit_code == EXIT_INPUT
    assert caught.value.mend
    assert "\n" not in str(caught.value)
    return str(caught.value)
