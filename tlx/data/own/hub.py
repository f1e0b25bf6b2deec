"""Hub: data sets of Hugging Face's hub by name, or a folder laid out as one. No code of theirs is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlx.config.groups import HubData
from tlx.data.found import Found
from tlx.data.own.arrow import found, library
from tlx.errors import InputError, MachineError, TlxError
from tlx.hub import out_of_reach


def open_hub(config: HubData) -> Found:
    """Load ``config.name``: a folder if there is one of that name, else from the hub or, without it, from its cache.

    Raises:
        InputError: No such set, no hub, several configs to choose from, and whatever is wrong in a row.
        MachineError: A file that may not be read.
    """
    datasets = library()
    folder = Path(config.name).expanduser().absolute()
    cache = Path(datasets.config.HF_DATASETS_CACHE)  # where archives are unpacked
    if folder.is_dir():
        return found(str(folder), _from_folder(datasets, folder, config), (folder, cache), config)
    if config.name.startswith((".", "/", "~")) or config.name.count("/") > 1:
        raise InputError(f"data.name={config.name} is no folder", "give a folder, or a name on the hub: OWNER/NAME")
    from huggingface_hub import constants

    return found(config.name, _from_hub(datasets, config), (Path(constants.HF_HUB_CACHE), cache), config)


def _from_folder(datasets: Any, folder: Path, config: HubData) -> Any:
    if config.revision is not None:
        raise InputError(f"data.revision={config.revision} is of the hub, but {folder} is a folder", "leave it out")
    if any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise InputError(f"{folder} was written by save_to_disk", f"read it as it is: data=shards data.root={folder}")
    with _told(str(folder)):
        return datasets.load_dataset(str(folder), config.config)


def _from_hub(datasets: Any, config: HubData) -> Any:
    """Knock first: the client alone retries for a minute. A hub out of reach leaves what was loaded before."""
    reason = out_of_reach()
    try:
        with _told(config.name), _offline(datasets, bool(reason)):
            return datasets.load_dataset(config.name, config.config, revision=config.revision)
    except InputError:
        if not reason:
            raise
    raise InputError(
        f"the data set {config.name} is not in the cache and the hub is out of reach ({reason})",
        "give a local copy (data.name=PATH), or the folder of a cache that has it (the environment variable HF_HOME)",
    )


@contextmanager
def _offline(datasets: Any, wanted: bool) -> Iterator[None]:
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Say in one line why a data set cannot be loaded."""
    try:
        yield
    except TlxError:
        raise  # a signal
    except PermissionError as error:
        raise MachineError(f"{error.filename or name} may not be read", "change its permissions") from None
    except Exception as error:  # its kinds differ from version to version
        cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
        reason = " ".join((str(cause) or type(cause).__name__).split())
        mend = "check data.name, data.config and data.revision"
        if "onfig" in reason and ("available" in reason.lower()):
            mend = "choose one: data.config=..."
        raise InputError(f"the data set {name} cannot be loaded ({reason})", mend) from None
