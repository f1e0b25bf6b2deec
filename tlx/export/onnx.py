"""``format=onnx``: a ``model.onnx`` that ONNX runtimes run, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tlx.export.from_pixels import FromPixels
from tlx.export.graph import INPUT, OUTPUT, captured, quiet, takes, takes_batches
from tlx.export.subject import Subject

FILE = "model.onnx"
LARGE = 1_900_000_000  # bytes: one file of this format holds less than 2 GiB, and the weights then stand beside it


def write_to(folder: Path, subject: Subject) -> str:
    """Write the graph with its weights; class names, temperature and preprocessing as its metadata."""
    program = captured(FromPixels(subject.model))
    with quiet(), torch.no_grad():
        made: Any = torch.onnx.export(program, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    _forget_the_code(made.model)
    _name_sizes(made.model, takes_batches(program))
    made.model.metadata_props.update(subject.facts())
    weights = sum(tensor.nbytes for tensor in program.state_dict.values())
    made.save(str(folder / FILE), external_data=weights > LARGE)
    return takes(program)


def _forget_the_code(model: Any) -> None:
    """Take out where in the code every operation came from."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


def _name_sizes(model: Any, batches: bool) -> None:
    """Call the sizes that may be any by their names."""
    import onnx_ir as ir

    sizes = ["batch" if batches else 1, "height", "width", 3]
    model.graph.inputs[0].shape = ir.Shape(sizes)
    outputs = model.graph.outputs[0]
    outputs.shape = ir.Shape([sizes[0], *list(outputs.shape)[1:]])


def read_from(folder: Path, _: Subject) -> Callable[[Image.Image], np.ndarray]:
    """Return how onnxruntime turns an image into probabilities (K,)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])

    def probabilities(image: Image.Image) -> np.ndarray:
        found: np.ndarray = session.run([OUTPUT], {INPUT: np.asarray(image)[None]})[0][0]
        return found

    return probabilities
