"""Features: which columns of a Hugging Face data set are the images and the labels, by their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tlx.errors import InputError, nearest

Features = Mapping[str, Any]
Test = Callable[[str, Any], bool]
USUAL = ("label", "labels")  # other columns of text or numbers may be anything: one must ask for them


def image_column(features: Features, asked: str | None, place: str) -> str:
    """Find the column of images: the one asked for, else the only one.

    Raises:
        InputError: It is not there or holds no images; none does, or several do.
    """
    return _column(features, asked, place, "image", [_is_image], _is_image)


def label_column(features: Features, asked: str | None, place: str) -> str:
    """Find the column of labels: the one asked for, else the only one with named classes, else the usual one.

    Raises:
        InputError: It is not there or holds no labels; none does, or several do.
    """
    return _column(features, asked, place, "label", [_is_class, _is_usual], lambda *of: _is_class(*of) or _is_word(*of))


def _column(features: Features, asked: str | None, place: str, what: str, order: Sequence[Test], possible: Test) -> str:
    key = f"data.{what}_column"
    if asked is not None:
        if asked not in features:
            raise InputError(f"{place} has no column {asked!r}", f"give {key}=...: {nearest(asked, features)}")
        if not possible(asked, features[asked]):
            raise InputError(f"the column {asked!r} of {place} holds no {what}s", f"its columns: {_listed(features)}")
        return asked
    for test in order:
        fitting = [name for name, feature in features.items() if test(name, feature)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise InputError(f"{place} has several columns of {what}s: {', '.join(fitting)}", f"choose one: {key}=...")
    raise InputError(f"no column of {place} is known to hold {what}s", f"give {key}=...: {_listed(features)}")


def _is_image(_: str, feature: Any) -> bool:
    return _kind(feature) == "Image" or (isinstance(feature, Mapping) and "bytes" in feature)


def _is_class(_: str, feature: Any) -> bool:
    return _kind(feature) == "ClassLabel"


def _is_word(_: str, feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("string", "large_string", "int", "uint", "bool"))


def _is_usual(name: str, feature: Any) -> bool:
    return name in USUAL and _is_word(name, feature)


def _kind(feature: Any) -> str:
    return type(feature).__name__


def _listed(features: Features) -> str:
    return ", ".join(
        f"{name} ({getattr(feature, 'dtype', None) or _kind(feature)})" for name, feature in features.items()
    )
