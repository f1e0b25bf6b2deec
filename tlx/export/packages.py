"""Packages: what a format needs beyond what tlx itself needs."""

from __future__ import annotations

from importlib.util import find_spec

from tlx.errors import InputError

NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def must_be_there(format: str) -> None:
    """Make sure that the packages of a format are installed.

    Raises:
        InputError: One is not.
    """
    if lacking := [name for name in NEEDED.get(format, ()) if find_spec(name) is None]:
        raise InputError(f"format={format} needs {' and '.join(lacking)}", f"pip install 'tlx[{format}]'")
