"""Own folder: where what a verb makes goes, the one that is asked for or one of its own below ``outputs``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tlx.config.groups import Data, FolderData
from tlx.errors import InputError
from tlx.storage import cannot_write

LONGEST = 40  # letters of a name


def own_folder(output: str | None, kind: str, name: str, holds: str) -> Path:
    """Make the folder ``output``, which may not hold the file ``holds``, else one below ``outputs/KIND``.

    That is called by the time and by ``name``.

    Raises:
        InputError: The folder that is asked for holds the file already.
        MachineError: The folder cannot be made.
    """
    try:
        if output is not None:
            folder = Path(output).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / holds).exists():
                raise InputError(f"{folder} already holds {holds}", "remove it, or give another output=FOLDER")
            return folder
        plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("_.")[:LONGEST]
        base = Path("outputs", kind).absolute() / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{plain or 'images'}"
        base.parent.mkdir(parents=True, exist_ok=True)
        folder, number = base, 1
        while True:
            try:
                folder.mkdir()
            except FileExistsError:  # two that start in the same second
                number += 1
                folder = base.with_name(f"{base.name}_{number}")
            else:
                return folder
    except OSError as error:
        raise cannot_write(Path(error.filename or "."), error, "output") from None


@contextlib.contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Remove the folder again where what was to fill it fails before it has."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
        raise


def must_lie_outside(folder: Path, data: Data) -> None:
    """Make sure that what is written is not read as images to learn from.

    Raises:
        InputError: ``folder`` lies in the folder whose folders are classes.
    """
    if isinstance(data, FolderData) and data.root is not None:
        root = Path(data.root).expanduser().resolve()
        if (own := folder.resolve()).is_relative_to(root):
            what = f"{own} lies in data.root={data.root}: its pictures would be read as images to learn from"
            raise InputError(what, "start elsewhere, or give another folder")
