"""From a data group's config to its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from tlx.config.groups import (
    DigitsData,
    FolderData,
    HubData,
    LettersData,
    OwnData,
    PatchesData,
    ShardsData,
    TableData,
    TorchvisionData,
)
from tlx.data.builtin import digits, letters, patches
from tlx.data.builtin.drawn import Drawn
from tlx.data.found import Found
from tlx.data.own.folder import open_folder
from tlx.data.scan.facts import describe, used
from tlx.data.scan.looks import Progress
from tlx.data.scan.remarks import Facts
from tlx.data.scan.scan import scan
from tlx.data.settle import must_hold, settle, whole
from tlx.data.source import SPLITS, ArrayImages, Source
from tlx.errors import InputError

Own = FolderData | TableData | ShardsData | HubData | TorchvisionData
AnyData = Own | DigitsData | LettersData | PatchesData


def open_source(
    config: AnyData,
    seed: int,
    record: Callable[[Facts], None] = lambda facts: None,
    progress: Progress = lambda done, count: None,
) -> Source:
    """Open a source; built-in sets are drawn from the seed, a person's own images are scanned (see scan.py).

    ``record`` is handed the facts of a scan before they are judged, so that they can be kept where the images are
    refused; ``progress`` is told how far the scan is. ``Source.facts`` holds all facts.

    Raises:
        InputError: Whatever is wrong with the user's images, named.
    """
    if isinstance(config, OwnData):
        return _own(_found(config, learn=True), config, seed, record, progress)
    try:
        return _open_builtin(config, seed)
    except ValueError as error:
        raise InputError(f"data.{error}", "see the data option's own file under conf/data") from None
    except FileNotFoundError as error:
        raise InputError(str(error), "install scikit-image and scikit-learn again") from None


def open_split(config: OwnData, split: str, progress: Progress = lambda done, count: None) -> Source:
    """Open a person's own images to measure a finished network on: those given as ``split``, or all if none are split.

    They stand in for every split of the source.

    Raises:
        InputError: Whatever is wrong with the images, named; splits are given, but not this one.
    """
    found, facts = _scanned(_found(config, learn=False), config, lambda facts: None, progress)
    images, groups = whole(found, split)
    told = f"{len(images.labels):,} images, " + (f"those given as {split}" if found.split else "all that are there")
    source = Source(found.classes, images, images, images, (*found.notes, *facts["notes"], told), groups=groups)
    return replace(source, facts=used(source, "none", facts))


def _found(config: OwnData, learn: bool) -> Found:
    """Open a person's own images; what a source alone needs is imported with it."""
    if isinstance(config, FolderData):
        return open_folder(config, learn)
    if isinstance(config, TableData):
        from tlx.data.own.table import open_table

        return open_table(config)
    if isinstance(config, ShardsData):
        from tlx.data.own.shards import open_shards

        return open_shards(config)
    if isinstance(config, HubData):
        from tlx.data.own.hub import open_hub

        return open_hub(config)
    from tlx.data.own.torchvision import open_torchvision

    assert isinstance(config, TorchvisionData)
    return open_torchvision(config)


def _own(found: Found, config: OwnData, seed: int, record: Callable[[Facts], None], progress: Progress) -> Source:
    must_hold(found)  # told at once, not after a scan
    found, facts = _scanned(found, config, record, progress)
    source = settle(replace(found, notes=(*found.notes, *facts["notes"])), config, seed)
    return replace(source, facts=used(source, config.balance, facts))


def _scanned(found: Found, config: OwnData, record: Callable[[Facts], None], progress: Progress) -> tuple[Found, Facts]:
    """Scan what was found; refuse bad images, or return it without them."""
    found, seen = scan(found, config, progress)
    facts = describe(found, seen)
    record(facts)
    seen.must_be_good()
    return found, facts


def _open_builtin(config: DigitsData | LettersData | PatchesData, seed: int) -> Source:
    if isinstance(config, DigitsData):
        return _digits(seed, config.per_class)
    counts = (config.per_class, config.val_per_class, config.test_per_class)
    if isinstance(config, LettersData):
        return _letters(seed, config.script, *counts)
    return _patches(seed, *counts, config.rotate)


# A sweep draws each set once: the last few are kept for its next runs.


@lru_cache(maxsize=2)
def _digits(seed: int, per_class: int) -> Source:
    return _source("digits", digits.draw(seed, per_class))


@lru_cache(maxsize=1)
def _letters(seed: int, script: str, per_class: int, val: int, test: int) -> Source:
    return _source(script, letters.draw(seed, script, per_class, val, test))


@lru_cache(maxsize=2)
def _patches(seed: int, per_class: int, val: int, test: int, rotate: bool) -> Source:
    return _source("patches", patches.draw(seed, per_class, val, test, rotate))


def _source(origin: str, drawn: Drawn) -> Source:
    train, val, test = (ArrayImages(f"{origin}/{s}", drawn.images[s], drawn.labels[s]) for s in SPLITS)
    source = Source(drawn.classes, train, val, test, in_memory=True)
    return replace(source, facts=used(source, "none"))
