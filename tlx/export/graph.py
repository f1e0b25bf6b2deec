"""Graph: a network from pixels to probabilities, captured by torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from tlx.errors import InputError, TlxError
from tlx.export.from_pixels import FromPixels

INPUT, OUTPUT = "images", "probabilities"
OF_THE_CODE = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn")  # names files and places


def captured(module: FromPixels) -> ExportedProgram:
    """Capture a module, for any number of images of any height and width; else for one image at a time.

    Raises:
        InputError: The network's code cannot be captured.
    """
    sizes = {1: Dim("height", min=1), 2: Dim("width", min=1)}
    try:
        program = _captured(module, 2, {0: Dim("batch", min=1), **sizes})
    except Exception:  # code that is written for a fixed number of images
        program = _captured(module, 1, sizes)
    _forget_the_code(program.graph_module)
    return program


def takes_batches(program: ExportedProgram) -> bool:
    """Whether a program takes any number of images at once."""
    found = next(node for node in program.graph.nodes if node.name == INPUT)
    return not isinstance(found.meta["val"].shape[0], int)


def takes(program: ExportedProgram) -> str:
    """Say for a person what a program takes."""
    return "a batch of images of one size" if takes_batches(program) else "one image at a time"


def _captured(module: FromPixels, count: int, sizes: dict[int, Any]) -> ExportedProgram:
    side = module.resize.side
    example = torch.zeros(count, side + 5, side + 9, 3, dtype=torch.uint8)
    try:
        with quiet(), torch.no_grad():
            module.eval()
            module(example[:1])  # what code keeps of its weights from its first pass on must be kept by now
            return torch.export.export(module, (example,), dynamic_shapes={INPUT: sizes}, strict=False)
    except TlxError:
        raise
    except Exception as error:  # whatever tracing may say of code that it cannot follow
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        what = f"torch.export cannot capture this network: {type(error).__name__}: {reason.strip()}"
        raise InputError(what, "choose format=timm or format=safetensors, which keep to its code") from None


def _forget_the_code(graph: nn.Module) -> None:
    """Take out where in the code every operation came from: paths of this machine are no one's business."""
    for module in graph.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for name in OF_THE_CODE:
                    node.meta.pop(name, None)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters' warnings and logs off the terminal: what they made is measured afterwards."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
