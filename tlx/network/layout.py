"""Layout: which axis of a trunk's features holds the channels, and which tokens are the image's own."""

from __future__ import annotations

import math

from torch import nn

from tlx.errors import InputError
from tlx.network.points import description_of, stages


def layout_of(shape: tuple[int, ...], model: nn.Module, image_size: int) -> tuple[str, int]:
    """Tell the layout of features of ``shape`` (without the batch), and how many tokens stand before the patches'.

    The layouts: "vector" (D), "NLC" (L, D), "NCHW" (D, H, W), "NHWC" (H, W, D). The image is square, and so are its
    maps; where that leaves a doubt (16 channels of 16 x 16), the announced widths decide, then what the architecture
    says of itself.

    Raises:
        InputError: Features of any other form.
    """
    info = stages(model) if description_of(model) or hasattr(model, "feature_info") else []
    widths = {stage.channels for stage in info}
    if len(shape) == 1:
        return "vector", 0
    if len(shape) == 2:
        if shape[0] in widths and shape[1] not in widths:
            raise _untold(shape)
        return "NLC", _prefix(shape[0], model, {math.ceil(image_size / stage.reduction) for stage in info})
    if len(shape) != 3:
        raise _untold(shape)
    first, last = shape[1] == shape[2], shape[0] == shape[1]
    if first != last:
        return ("NCHW" if first else "NHWC"), 0
    first, last = shape[0] in widths, shape[2] in widths
    if first != last:
        return ("NCHW" if first else "NHWC"), 0
    if shape[0] != shape[1] and shape[1] != shape[2]:
        raise _untold(shape)
    return str(getattr(model, "output_fmt", "NCHW")), 0


def _prefix(tokens: int, model: nn.Module, sides: set[int]) -> int:
    """Count the class and register tokens: as many as announced, unless the others alone make up a square then.

    They may join the patches only behind the cut (CaiT), or not be announced (VOLO).
    """
    announced = int(getattr(model, "num_prefix_tokens", None) or 0)
    squares = {side * side for side in sides}
    return next((p for p in (announced, *range(9)) if tokens - p in squares), announced)


def _untold(shape: tuple[int, ...]) -> InputError:
    told = " x ".join(map(str, shape))
    return InputError(f"the features at this cut, {told}, are neither maps nor tokens", "choose a stage: cut=stage")
