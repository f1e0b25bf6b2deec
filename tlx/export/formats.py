"""Formats: how each is written and read back, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from PIL import Image

from tlx.export import onnx, safetensors, timm_folder, torch_export
from tlx.export.subject import Subject


class Format(NamedTuple):
    """``write`` returns a note for the person; ``read`` how the export, by ``reader``, turns an image into (K,)."""

    write: Callable[[Path, Subject], str]
    read: Callable[[Path, Subject], Callable[[Image.Image], np.ndarray]]
    reader: str


def _format(module: ModuleType, reader: str) -> Format:
    return Format(module.write_to, module.read_from, reader)


FORMATS = {
    "onnx": _format(onnx, "onnxruntime"),
    "torch_export": _format(torch_export, "torch.export"),
    "timm": _format(timm_folder, "plain timm"),
    "safetensors": _format(safetensors, "tlx"),
}
