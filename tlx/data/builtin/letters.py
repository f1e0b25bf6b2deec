"""Letters from fonts under heavy distortion: Latin, to pretrain on, and Greek, a large set that resembles it.

Each image is a function of the seed, the script, the split and its own place alone, so that a larger set begins with
the smaller one. No digit occurs.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlx.data.builtin.drawn import SIZE, SPLITS, Drawn
from tlx.data.builtin.glyphs import FACE, FIELD, Glyphs, glyphs
from tlx.data.builtin.resample import Floats, bilinear, blurring, coarsening, enlarging, spread

_SCRIPTS: Final = {"latin": 1, "greek": 2}
_CHUNK: Final = 128  # images drawn by one generator, always in full; also about what the processor's cache holds
_GRID: Final = np.linspace(-1, 1, SIZE, dtype=np.float32)
# What a glyph is seen through. Low resolutions come down to those of 8x8 scans.
_SHARP, _BLURS, _COARSE = 1, (0.5, 0.8, 1.1, 1.5), (8, 9, 10, 11, 12, 14, 16)
_LENSES: Final = np.stack(
    [np.eye(SIZE, dtype=np.float32)]
    + [blurring(SIZE, sigma) for sigma in _BLURS]
    + [coarsening(SIZE, pixels) for pixels in _COARSE]
)
_LENS_SHARE: Final = np.array([0.25] + [0.4 / len(_BLURS)] * len(_BLURS) + [0.35 / len(_COARSE)] * len(_COARSE))
_KNOTS: Final = 4
_BEND: Final = enlarging(_KNOTS, SIZE)
_PATCHES: Final = 9
_TEXTURE: Final = enlarging(_PATCHES, SIZE)


def draw(seed: int, script: str, per_class: int, val_per_class: int, test_per_class: int) -> Drawn:
    """Render `script`, "latin" or "greek"; the classes take turns within each split.

    Raises:
        ValueError: for any other script.
    """
    shapes = glyphs(script)
    classes = len(shapes.classes)
    images, labels = {}, {}
    for number, (split, each) in enumerate(zip(SPLITS, (per_class, val_per_class, test_per_class), strict=True)):
        labels[split] = np.arange(each * classes, dtype=np.int64) % classes
        images[split] = np.empty((each * classes, SIZE, SIZE, 3), np.uint8)
        for start in range(0, each * classes, _CHUNK):
            entropy = np.random.SeedSequence([seed, _SCRIPTS[script], number, start // _CHUNK])
            wanted = images[split][start : start + _CHUNK]
            wanted[:] = _chunk(np.random.Generator(np.random.SFC64(entropy)), shapes, start)[: len(wanted)]
    return Drawn(shapes.classes, images, labels)


def _chunk(rng: np.random.Generator, shapes: Glyphs, start: int) -> NDArray[np.uint8]:
    """Images `start` to `start + _CHUNK` of a split."""
    label = np.arange(start, start + _CHUNK) % len(shapes.classes)
    which = shapes.first[label] + (rng.random(_CHUNK) * shapes.number[label]).astype(np.intp)
    return _coloured(rng, _cover(rng, shapes.fields, which))


def _cover(rng: np.random.Generator, fields: Floats, which: NDArray[np.intp]) -> Floats:
    """How much of each pixel the distorted glyph covers, 0 to 1, (_CHUNK, SIZE, SIZE)."""
    height = _uniform(rng, 0.6, 0.95)  # of the glyph's longer side, as a share of the image
    x, y = _places(rng, height)
    distance = bilinear(fields, which, x, y)
    pixels = height * np.float32(SIZE / FACE)  # of the image, to one of the field
    # Pens: thinned by at most a third of what the font has, or thickened.
    thickest = fields[which].max((1, 2))[:, None, None]
    pen = _uniform(rng, -1, 1)
    distance += np.where(pen < 0, thickest / np.float32(3), np.float32(2.2)) * pen
    distance *= pixels
    distance += np.float32(0.5)
    cover = np.clip(distance, 0, 1, out=distance)
    lens = _LENSES[rng.choice(len(_LENSES), _CHUNK, p=_LENS_SHARE)]
    return np.asarray(lens @ cover @ lens.transpose(0, 2, 1), np.float32)


def _places(rng: np.random.Generator, height: Floats) -> tuple[Floats, Floats]:
    """Where in the glyph's field each pixel looks: an affine map, seen in perspective, then bent."""
    angle, shear = _uniform(rng, -0.35, 0.35), _uniform(rng, -0.35, 0.35)
    stretch = np.exp(_uniform(rng, -0.25, 0.25))  # narrower or wider, never beyond `height`
    wide, tall = height * np.minimum(stretch, 1), height * np.minimum(1 / stretch, 1)
    room = (1 - height) * np.float32(0.8)
    x = _GRID - room * _uniform(rng, -1, 1)
    y = _GRID[:, None] - room * _uniform(rng, -1, 1)
    cos, sin = np.cos(angle), np.sin(angle)
    across = (cos * x + sin * y) / wide
    down = (cos * y - sin * x) / tall
    across = across - shear * down
    depth = 1 + _uniform(rng, -0.18, 0.18) * across + _uniform(rng, -0.18, 0.18) * down
    strength = np.abs(rng.standard_normal((_CHUNK, 1, 1), np.float32)) * np.float32(0.09)
    return _bent(rng, across / depth, strength), _bent(rng, down / depth, strength)


def _bent(rng: np.random.Generator, place: Floats, strength: Floats) -> Floats:
    """Push -1 to 1 about by a smooth random field, and turn it into pixels of the glyph's field."""
    place += spread(strength * rng.standard_normal((_CHUNK, _KNOTS, _KNOTS), np.float32), _BEND)
    place *= np.float32(FACE / 2)
    place += np.float32((FIELD - 1) / 2)
    return place


def _coloured(rng: np.random.Generator, cover: Floats) -> NDArray[np.uint8]:
    """Dark on light or light on dark, unevenly lit, textured and noisy: uint8 (_CHUNK, SIZE, SIZE, 3)."""
    dark = _uniform(rng, 0, 0.45)
    light = dark + np.float32(0.25) + _uniform(rng, 0, 1) * (np.float32(0.75) - dark)
    tint = (rng.random((_CHUNK, 1, 1, 2, 3), np.float32) - np.float32(0.5)) * _sometimes(rng, 0.5)[..., None, None]
    ink_is_dark = rng.random((_CHUNK, 1, 1)) < 0.5
    paper = np.where(ink_is_dark, light, dark)
    ink = np.where(ink_is_dark, dark, light)
    light_fall = _sometimes(rng, 0.6) * np.float32(0.25)
    shade = light_fall * (_uniform(rng, -1, 1) * _GRID + _uniform(rng, -1, 1) * _GRID[:, None])
    # Texture and noise grow with the contrast, or they would drown the faint letters.
    contrast = light - dark
    texture = rng.standard_normal((_CHUNK, _PATCHES, _PATCHES), np.float32)
    shade += spread(texture * (contrast * _sometimes(rng, 0.5) * np.float32(0.25)), _TEXTURE)
    noise = rng.standard_normal(cover.shape, np.float32)
    noise *= contrast * _sometimes(rng, 0.6) * np.float32(0.2)
    shade += noise
    images = np.empty((*cover.shape, 3), np.uint8)
    for channel in range(3):
        paper_here, ink_here = paper + tint[:, :, :, 0, channel], ink + tint[:, :, :, 1, channel]
        level = cover * (ink_here - paper_here)
        level += paper_here
        level += shade
        level *= 255
        images[..., channel] = np.clip(level, 0, 255, out=level)
    return images


def _uniform(rng: np.random.Generator, low: float, high: float) -> Floats:
    """One number an image, (_CHUNK, 1, 1)."""
    return np.float32(low) + np.float32(high - low) * rng.random((_CHUNK, 1, 1), np.float32)


def _sometimes(rng: np.random.Generator, share: float) -> Floats:
    """One strength an image, (_CHUNK, 1, 1): uniform in 0 to 1 for a `share` of them, nothing for the others."""
    strength = rng.random((_CHUNK, 1, 1), np.float32)
    strength *= rng.random((_CHUNK, 1, 1)) < share
    return strength
