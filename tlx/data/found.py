"""Found: what a source holds before it is split: labelled images, the classes, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tlx.data.source import Images


@dataclass(frozen=True)
class Found:
    """The images of a source by split, as they were given.

    What is to be learned from has ``train``; where ``val`` or ``test`` are missing, they are carved out of it.
    ``split`` says whether splits were given: without, all is ``train``. ``groups`` (N,) are numbers of what must not be
    parted, such as the photographs of one patient, and places in ``group_names``; a split without them has no entry.
    ``place`` is what messages call the source by. ``skipped`` counts files that are no images, by their ending,
    ``hidden`` files and folders whose names begin with a dot, ``unfollowed`` links to folders inside a class.
    ``in_memory``: the pixels are.
    """

    place: str
    classes: tuple[str, ...]
    given: dict[str, Images]
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    group_names: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    hidden: int = 0
    unfollowed: int = 0
    notes: tuple[str, ...] = ()
    split: bool = True
    in_memory: bool = False
