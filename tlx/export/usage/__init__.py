"""Usage: the code with which a person uses an export, format by format; it stands in the card and is run by a test.

It is no code of tlx: each file beside this one is what somebody copies into a program of their own.
"""

from __future__ import annotations

from importlib.resources import files

INSTALL = {
    "onnx": "pip install onnxruntime numpy pillow",
    "torch_export": "pip install torch numpy pillow",
    "timm": "pip install timm",
    "safetensors": "pip install tlx",
}


def usage(format: str, least: int) -> str:
    """Return the code; ``least`` is how many pixels a file's short side must have when it is decoded."""
    code = files(__package__).joinpath(f"{format}.txt").read_text("utf-8").strip()
    return code.replace("TWICE", str(2 * least)).replace("LEAST", str(least))
