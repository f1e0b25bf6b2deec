"""Shards: a folder of Arrow files that Hugging Face's ``save_to_disk`` wrote, read in place."""

from __future__ import annotations

from pathlib import Path

from tlx.config.groups import ShardsData
from tlx.data.found import Found
from tlx.data.own.arrow import found, library
from tlx.errors import InputError, MachineError, TlxError


def open_shards(config: ShardsData) -> Found:
    """Map the data set in ``config.root`` into memory; its images keep the order of its rows.

    Raises:
        InputError: No such folder, none that ``save_to_disk`` wrote, and whatever is wrong in a row, which is named.
        MachineError: A file that may not be read.
    """
    datasets = library()
    root = Path(config.root).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"data.root={root} is no folder", "give a folder that save_to_disk wrote")
    if not any((root / name).is_file() for name in ("state.json", "dataset_dict.json")):
        mend = f"write it with save_to_disk, or read it as it is: data=hub data.name={root}"
        raise InputError(f"data.root={root} holds no saved data set", mend)
    try:
        loaded = datasets.load_from_disk(str(root))
    except TlxError:
        raise  # a signal
    except PermissionError as error:
        raise MachineError(f"{error.filename or root} may not be read", "change its permissions") from None
    except Exception as error:  # whatever a damaged file makes of its readers
        reason = " ".join((str(error) or type(error).__name__).split())
        raise InputError(f"the data set {root} cannot be read ({reason})", "write it again with save_to_disk") from None
    sets = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    return found(str(root), sets, (root,), config)
