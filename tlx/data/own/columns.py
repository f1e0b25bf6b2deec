"""Columns: those of a CSV or Parquet file that are asked for, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tlx.errors import InputError, MachineError, nearest

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".tsv", ".txt")
DELIMITERS = ",;\t"  # the one that the header holds most of
BLOCK = 1 << 22  # bytes of a CSV file parsed at a time


def read_columns(file: Path, wanted: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """Read columns as text; what is null reads as empty.

    In a CSV file nothing is guessed: ``007`` stays what it is, and so does ``NA``.

    Args:
        file: A CSV file in UTF-8 with a header, delimited by commas, semicolons or tabs; or a Parquet file.
        wanted: The columns by the config keys that name them.

    Returns:
        The columns by those keys, each of type ``large_string``.

    Raises:
        InputError: No file, none that can be read, a column that is not there, twice there, or no text.
        MachineError: A file that may not be read.
    """
    try:
        if file.suffix.lower() in PARQUET:
            return _parquet(file, wanted)
        if file.suffix.lower() in CSV:
            return _csv(file, wanted)
    except FileNotFoundError:
        raise InputError(f"there is no table {file}", "give data.file=PATH, a CSV or Parquet file") from None
    except IsADirectoryError:
        raise InputError(f"{file} is a folder", "give data.file=PATH, a CSV or Parquet file") from None
    except PermissionError:
        raise MachineError(f"the table {file} may not be read", "change its permissions") from None
    except UnicodeDecodeError:
        raise InputError(f"the table {file} is not in UTF-8", "save it as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).replace("Row #", "line ").split())  # Arrow counts the header
        mend = "save it as UTF-8" if "UTF8" in reason else "repair it or write it again"
        raise InputError(f"the table {file} cannot be read ({reason})", mend) from None
    raise InputError(f"data.file={file} has no ending of a table", f"give one of {', '.join((*CSV, *PARQUET))}")


def _csv(file: Path, wanted: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    with file.open(encoding="utf-8-sig") as opened:
        header = opened.readline()
    if not header.strip():
        raise InputError(f"the table {file} is empty", "its first line names the columns")
    parse = pa.csv.ParseOptions(delimiter=max(DELIMITERS, key=header.count))
    read = pa.csv.ReadOptions(block_size=BLOCK)
    with pa.csv.open_csv(file, read_options=read, parse_options=parse) as reader:
        _must_be_there(file, reader.schema.names, wanted)
    # Nothing is null: an empty cell is empty text.
    convert = pa.csv.ConvertOptions(
        include_columns=list(dict.fromkeys(wanted.values())),
        column_types=dict.fromkeys(wanted.values(), pa.large_string()),
    )
    table = pa.csv.read_csv(file, read_options=read, parse_options=parse, convert_options=convert)
    return {key: table.column(name) for key, name in wanted.items()}


def _parquet(file: Path, wanted: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    with file.open("rb") as opened:  # whose errors are told apart; Arrow's are not
        parquet = pa.parquet.ParquetFile(opened)
        _must_be_there(file, parquet.schema_arrow.names, wanted)
        table = parquet.read(list(dict.fromkeys(wanted.values())))
    return {key: _text(table.column(name), file, key, name) for key, name in wanted.items()}


def _text(column: pa.ChunkedArray, file: Path, key: str, name: str) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        what = f"the column {name!r} of {file} holds neither text nor whole numbers but {kind}"
        raise InputError(what, f"choose another: {key}=...")
    return column.cast(kind).cast(pa.large_string()).fill_null("")


def _must_be_there(file: Path, names: list[str], wanted: Mapping[str, str]) -> None:
    count = Counter(names)
    for key, name in wanted.items():
        if not count[name]:
            raise InputError(f"the table {file} has no column {name!r}", f"give {key}=...: {nearest(name, count)}")
        if count[name] > 1:
            raise InputError(f"the table {file} has {count[name]} columns {name!r}", "rename all but one")
