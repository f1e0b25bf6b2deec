"""Push: a finished export to Hugging Face's hub, by its own client."""

from __future__ import annotations

import re
from pathlib import Path

from tlx.errors import InputError, MachineError
from tlx.hub import out_of_reach

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def must_be_possible(name: str) -> None:
    """Make sure, before anything is computed, that a name is one and that the hub can be reached.

    Raises:
        InputError: No name of the form OWNER/NAME.
        MachineError: No network.
    """
    if not NAME.fullmatch(name) or ".." in name or "--" in name:
        raise InputError(f"push_to_hub={name} is no name of a repository", "write OWNER/NAME")
    if reason := out_of_reach():
        what = f"Hugging Face's hub cannot be reached ({reason}), so nothing was exported"
        raise MachineError(what, "leave out push_to_hub and push the folder later, or check the network")


def push(folder: Path, name: str) -> str:
    """Create the repository where there is none, upload the folder, and return its address.

    Raises:
        InputError: The hub refuses: not logged in, or not the owner.
        MachineError: The connection broke.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        made = huggingface_hub.create_repo(name, exist_ok=True)
        huggingface_hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Add a model exported by tlx")
    except HfHubHTTPError as error:
        what = f"the hub refuses {name}: {_first_line(error)}"
        raise InputError(
            what, f"log in with `hf auth login`, and check the name; the export stands in {folder}"
        ) from None
    except Exception as error:  # whatever its client lets through of a connection's end
        what = f"the upload to {name} broke off: {_first_line(error)}"
        raise MachineError(what, f"try again; the export stands in {folder}") from None
    return str(made)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
