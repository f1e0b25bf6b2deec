"""Links: which symbolic links below a folder of images are followed."""

from __future__ import annotations

import os
from pathlib import Path

from tlx.errors import InputError


def must_stay(
    entry: os.DirEntry[str], root: Path, links: str, keys: tuple[str, str] = ("data.root", "data.links")
) -> None:
    """Refuse a link that leads out of the root, unless ``links`` is ``anywhere``.

    A folder may come from anyone. A link in it to a place outside would have images read and learned that nobody
    meant to give. A link that leads nowhere is no escape; the image is found missing. ``keys`` are what the command
    line calls the root and ``links``.

    Raises:
        InputError: Names the link and where it leads.
    """
    if links == "anywhere" or not entry.is_symlink():
        return
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(os.path.realpath(root)):
        what = f"the link {entry.path} leads out of {keys[0]}, to {target}"
        raise InputError(what, f"copy what it leads to, or follow such links: {keys[1]}=anywhere")
