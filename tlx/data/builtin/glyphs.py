"""Letter shapes from the fonts inside matplotlib, as signed distance fields."""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FIELD: Final = 64
"""Height and width of a distance field, in pixels."""
FACE: Final = 40
"""The longer side of a glyph within its field, in pixels; the margin holds bolder strokes."""

_DEJAVU = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
)
_STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
_COMPUTER_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10", "cmmi10")
# Mathematical alphabets of STIXGeneral, by the code of their "A": more hands to write the same letters.
_ALPHABETS = (0x1D49C, 0x1D4D0, 0x1D538, 0x1D5A0, 0x1D670)  # script, bold script, double-struck, sans serif, monospace

# Lower case that looks like its capital shares the capital's class, as in EMNIST balanced (Cohen et al., 2017). A small
# "l" is the bar of a capital "I" and is left out.
_LATIN_MERGED = "cijkmopsuvwxyz"
_LATIN_OMITTED = "l"
_GREEK_CAPITALS = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"
_GREEK_SMALL = "αβγδεζηθικλμνξοπρστυφχψω"
_GREEK_MERGED = "θικοπρτφχψ"
_GREEK_NAMES = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
    *("nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
)


class Glyphs(NamedTuple):
    """Every shape of every class.

    `fields` (G, FIELD, FIELD) is the distance to the outline in pixels, positive inside the stroke; class c owns rows
    `first[c]` up to but not including `first[c] + number[c]`.
    """

    classes: tuple[str, ...]
    fields: NDArray[np.float32]
    first: NDArray[np.intp]
    number: NDArray[np.intp]


def glyphs(script: str) -> Glyphs:
    """The letters of `script`, "latin" or "greek", in every font that has them.

    Raises:
        ValueError: for any other script.
    """
    from matplotlib import get_data_path  # not at import: it costs a quarter of a second
    from matplotlib.ft2font import FT2Font

    if script == "latin":
        classes, files = _latin(), (*_DEJAVU, *_STIX, *_COMPUTER_MODERN)
    elif script == "greek":
        classes, files = _greek(), (*_DEJAVU, *_STIX)
    else:
        raise ValueError(f"script={script!r} is neither 'latin' nor 'greek'")
    masks: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in classes}
    folder = Path(get_data_path(), "fonts", "ttf")
    for file in files:
        path = folder / f"{file}.ttf"
        has = FT2Font(str(path)).get_charmap()  # a glyph that is missing would be drawn as an empty box
        font = ImageFont.truetype(str(path), 2 * FIELD, layout_engine=ImageFont.Layout.BASIC)
        for name, letters in classes.items():
            codes = [ord(letter) for letter in letters]
            if script == "latin" and file == "STIXGeneral":
                codes += [start + _alphabet_place(letter) for start in _ALPHABETS for letter in letters]
            masks[name] += [_mask(font, chr(code)) for code in codes if code in has]
    number = np.array([len(shapes) for shapes in masks.values()])
    fields = _distance(np.stack([mask for shapes in masks.values() for mask in shapes]))
    return Glyphs(tuple(masks), fields, np.cumsum(number) - number, number)


def _latin() -> dict[str, str]:
    capitals = {chr(code): chr(code) for code in range(ord("A"), ord("Z") + 1)}
    small = [chr(code) for code in range(ord("a"), ord("z") + 1) if chr(code) not in _LATIN_OMITTED]
    merged = {name: name + name.lower() * (name.lower() in _LATIN_MERGED) for name in capitals}
    return merged | {letter: letter for letter in small if letter not in _LATIN_MERGED}


def _greek() -> dict[str, str]:
    classes = {}
    for name, capital, small in zip(_GREEK_NAMES, _GREEK_CAPITALS, _GREEK_SMALL, strict=True):
        classes[name.capitalize()] = capital + small * (small in _GREEK_MERGED)
    return classes | {
        name: small for name, small in zip(_GREEK_NAMES, _GREEK_SMALL, strict=True) if small not in _GREEK_MERGED
    }


def _alphabet_place(letter: str) -> int:
    """The place of a letter in a mathematical alphabet: A to Z, then a to z."""
    return ord(letter) - ord("A") if letter.isupper() else ord(letter) - ord("a") + 26


def _mask(font: ImageFont.FreeTypeFont, letter: str) -> NDArray[np.uint8]:
    """One glyph, its bounding box enlarged or reduced to FACE and centred in its field."""
    left, top, right, bottom = font.getbbox(letter)
    shape = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(shape).text((-left, -top), letter, fill=255, font=font)
    scale = FACE / max(shape.size)
    width, height = (max(1, round(side * scale)) for side in shape.size)
    field = Image.new("L", (FIELD, FIELD))
    field.paste(shape.resize((width, height), Image.Resampling.LANCZOS), ((FIELD - width) // 2, (FIELD - height) // 2))
    return np.asarray(field)


def _distance(masks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Signed distance to the outline; pixels that the outline crosses take it from their grey level."""
    from scipy.ndimage import distance_transform_edt

    cover = masks.astype(np.float32) / 255
    inside = cover >= 0.5
    apart = (4 * FIELD, 1, 1)  # one call for all, each glyph too far from the next to matter
    distance = distance_transform_edt(inside, apart) - distance_transform_edt(~inside, apart)
    distance -= np.sign(distance) / 2
    edge = np.abs(distance) <= 0.5
    return np.where(edge, cover - 0.5, distance).astype(np.float32)
