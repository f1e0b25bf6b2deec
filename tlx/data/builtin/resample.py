"""Sampling whole batches of images at fractional places, and smoothing them: the arithmetic the drawn sets share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def bilinear(stack: Floats, which: NDArray[np.intp], x: Floats, y: Floats) -> Floats:
    """Read image `which[n]` of `stack` (K, H, W) at pixel coordinates `x[n]`, `y[n]`, both (N, S, S); edges extend.

    Pixel centres lie at whole numbers. Returns (N, S, S).
    """
    _, height, width = stack.shape
    flat = stack.reshape(-1)
    x = np.clip(x, 0, np.float32(width - 1.001))
    y = np.clip(y, 0, np.float32(height - 1.001))
    left, top = x.astype(np.int32), y.astype(np.int32)
    x -= left
    y -= top
    corner = top
    corner *= width
    corner += left
    corner += (which * (height * width)).astype(np.int32)[:, None, None]
    upper = flat.take(corner)
    corner += 1
    upper += x * (flat.take(corner) - upper)
    corner += width
    lower_right = flat.take(corner)
    corner -= 1
    lower = flat.take(corner)
    lower += x * (lower_right - lower)
    lower -= upper
    lower *= y
    upper += lower
    return upper


def spread(coarse: Floats, weights: Floats) -> Floats:
    """Enlarge (N, k, k) to (N, S, S) by the same `weights` (S, k) down and across."""
    fine: Floats = weights @ (coarse @ weights.T)
    return fine


def enlarging(coarse: int, fine: int) -> Floats:
    """Weights (fine, coarse) of a smooth enlargement: cubic steps between knots, the outer ones on the border."""
    place = np.linspace(0, coarse - 1, fine)
    knot = np.minimum(place.astype(int), coarse - 2)
    step = place - knot
    step = step * step * (3 - 2 * step)
    weights = np.zeros((fine, coarse))
    weights[np.arange(fine), knot] = 1 - step
    weights[np.arange(fine), knot + 1] = step
    return weights.astype(np.float32)


def blurring(size: int, sigma: float) -> Floats:
    """Weights (size, size) of a Gaussian blur of `sigma` pixels."""
    offset = np.subtract.outer(np.arange(size), np.arange(size))
    weights = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def coarsening(size: int, pixels: int) -> Floats:
    """Weights (size, size) that average down to `pixels` a side and interpolate up again: a low-resolution look."""
    edges = np.linspace(0, size, pixels + 1)
    cells = np.arange(size)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    down = np.clip(overlap, 0, None) * (pixels / size)
    distance = np.abs((cells[:, None] + 0.5) * (pixels / size) - (np.arange(pixels) + 0.5))
    # Keys' cubic convolution with a = -0.5, the kernel of Pillow's BICUBIC.
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    up = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return np.asarray(up / up.sum(1, keepdims=True) @ down, np.float32)
