"""The built-in sets: deterministic everywhere, disjoint, and what they claim to be."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import unicodedata
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tlx.data.builtin import digits, letters, patches
from tlx.data.builtin.drawn import SIZE, SPLITS, Drawn
from tlx.data.builtin.glyphs import FIELD, glyphs
from tlx.data.builtin.photographs import photographs

DRAWS = {
    "digits": "digits.draw(3, 5)",
    "latin": "letters.draw(3, 'latin', 4, 2, 2)",
    "greek": "letters.draw(3, 'greek', 4, 2, 2)",
    "patches": "patches.draw(3, 5, 4, 6, False)",
    "rotated": "patches.draw(3, 5, 4, 6, True)",
}
COUNTS = {"latin": (4, 2, 2), "greek": (4, 2, 2), "patches": (5, 4, 6), "rotated": (5, 4, 6)}
HASH = """
import hashlib
def fold(drawn):
    h = hashlib.sha256(repr(drawn.classes).encode())
    for s in ("train", "val", "test"):
        h.update(drawn.images[s].tobytes() + drawn.labels[s].tobytes())
    return h.hexdigest()
"""


def draw(name: str) -> Drawn:
    drawn: Drawn = eval(DRAWS[name], {"digits": digits, "letters": letters, "patches": patches})
    return drawn


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    return {name: draw(name) for name in DRAWS}


def fold(one: Drawn) -> str:
    scope: dict[str, Any] = {}
    exec(HASH, scope)
    return str(scope["fold"](one))


def test_another_process_draws_the_same(drawn: dict[str, Drawn]) -> None:
    script = "from tlx.data.builtin import digits, letters, patches\n" + HASH
    script += f"for call in {list(DRAWS.values())!r}: print(fold(eval(call)))\n"
    script = "import numpy as np; np.random.seed(99)\n" + script
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == [fold(drawn[name]) for name in DRAWS]


@pytest.mark.parametrize("name", DRAWS)
def test_shapes_types_and_counts(name: str, drawn: dict[str, Drawn]) -> None:
    one = drawn[name]
    assert set(one.images) == set(one.labels) == set(SPLITS)
    for number, split in enumerate(SPLITS):
        images, labels = one.images[split], one.labels[split]
        assert images.shape == (len(labels), SIZE, SIZE, 3)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        count = np.bincount(labels, minlength=len(one.classes))
        if name in COUNTS:
            assert (count == COUNTS[name][number]).all()
        assert sorted(labels[: len(one.classes)]) == list(range(len(one.classes)))  # classes take turns
    assert len(set(one.classes)) == len(one.classes)


@pytest.mark.parametrize("name", DRAWS)
def test_no_image_is_in_two_splits_or_twice(name: str, drawn: dict[str, Drawn]) -> None:
    seen = [hashlib.sha256(image.tobytes()).hexdigest() for s in SPLITS for image in drawn[name].images[s]]
    assert len(set(seen)) == len(seen)


def test_seeds_differ(drawn: dict[str, Drawn]) -> None:
    others = {
        "digits": digits.draw(4, 5),
        "latin": letters.draw(4, "latin", 4, 2, 2),
        "patches": patches.draw(4, 5, 4, 6, False),
    }
    for name, other in others.items():
        assert not np.array_equal(other.images["train"], drawn[name].images["train"])


def test_a_smaller_set_begins_a_larger_one(drawn: dict[str, Drawn]) -> None:
    for name, small in (
        ("greek", letters.draw(3, "greek", 2, 1, 1)),
        ("patches", patches.draw(3, 2, 1, 1, False)),
        ("rotated", patches.draw(3, 2, 1, 1, True)),
    ):
        for split in SPLITS:
            count = len(small.labels[split])
            assert np.array_equal(small.images[split], drawn[name].images[split][:count])
            assert np.array_equal(small.labels[split], drawn[name].labels[split][:count])


def test_latin_holds_no_digit_and_greek_holds_greek(drawn: dict[str, Drawn]) -> None:
    latin, greek = drawn["latin"].classes, drawn["greek"].classes
    assert len(latin) == 37
    assert all(len(name) == 1 and name.isalpha() and name.isascii() for name in latin)
    assert len(greek) == 38
    for name in greek:
        kind = "CAPITAL" if name[0].isupper() else "SMALL"
        letter = "LAMDA" if name.lower() == "lambda" else name.upper()
        assert unicodedata.lookup(f"GREEK {kind} LETTER {letter}")


@pytest.mark.parametrize(("script", "classes"), [("latin", 37), ("greek", 38)])
def test_every_class_has_glyphs_of_many_fonts_and_none_is_an_empty_box(script: str, classes: int) -> None:
    shapes = glyphs(script)
    assert len(shapes.classes) == classes
    assert shapes.number.min() >= 12
    assert shapes.fields.shape == (shapes.number.sum(), FIELD, FIELD)
    assert np.array_equal(shapes.first, np.cumsum(shapes.number) - shapes.number)
    inside = (shapes.fields > 0).mean((1, 2))
    assert inside.min() > 0.01
    assert inside.max() < 0.6
    # A missing glyph is the same box in every letter of a font: no two classes may share a shape.
    owner = np.repeat(np.arange(classes), shapes.number)
    by_shape: dict[bytes, set[int]] = {}
    for field, label in zip(shapes.fields, owner, strict=True):
        by_shape.setdefault(field.tobytes(), set()).add(int(label))
    shared = [{shapes.classes[c] for c in owners} for owners in by_shape.values() if len(owners) > 1]
    assert all(len(s) == 2 for s in shared), shared


def test_letters_are_visible(drawn: dict[str, Drawn]) -> None:
    for name in ("latin", "greek"):
        assert drawn[name].images["train"].astype(float).std((1, 2, 3)).min() > 2


def test_unknown_scripts_and_too_many_digits_are_errors() -> None:
    with pytest.raises(ValueError, match="neither 'latin' nor 'greek'"):
        letters.draw(0, "cyrillic", 1, 1, 1)
    for count in (0, 144):
        with pytest.raises(ValueError, match=f"per_class={count} is not between 1 and 143"):
            digits.draw(0, count)


def test_digits_are_scikit_learns_and_all_are_used() -> None:
    one = digits.draw(0)
    scans = load_digits()
    assert [len(one.labels[s]) for s in SPLITS] == [200, 300, 1297]
    assert np.bincount(one.labels["train"]).tolist() == [20] * 10
    total = sum(np.bincount(one.labels[s]) for s in SPLITS)
    assert total.tolist() == np.bincount(scans.target).tolist()
    # Shrunk again, every image is near a scan of its own class, white on black.
    image, label = one.images["train"][0], int(one.labels["train"][0])
    inner = image[4:-4, 4:-4, 0].reshape(8, 5, 8, 5).mean((1, 3)) / 255 * 16
    nearest = int(np.abs(scans.images - inner).mean((1, 2)).argmin())
    assert scans.target[nearest] == label
    assert image[:4].max() == 0


def test_validation_and_test_digits_do_not_depend_on_per_class() -> None:
    small, usual = digits.draw(1, 5), digits.draw(1, 20)
    for split in ("val", "test"):
        assert np.array_equal(small.images[split], usual.images[split])


def test_no_cell_of_a_photograph_is_in_two_splits() -> None:
    photos = photographs()
    cells = patches._cells(np.random.default_rng(np.random.SeedSequence([0, 3])), list(photos.values()))
    owners: dict[bytes, set[str]] = {}
    for split, part in cells.items():
        assert part.number.min() >= 1  # every class has a region in every split
        for cell in part.grey:
            owners.setdefault(cell.tobytes(), set()).add(split)
    assert len(owners) == sum(len(part.grey) for part in cells.values())
    assert all(len(who) == 1 for who in owners.values())
    side = patches._CELL
    most = sum((h // side) * (w // side) for h, w in (p.shape for p in photos.values()))
    assert 0.5 * most < len(owners) <= most


@pytest.mark.parametrize("rotate", [False, True])
def test_no_patch_leaves_its_cell(rotate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record where every patch looks: within its own cell, whose pixels belong to one split."""
    places = []
    real = patches.bilinear

    def watched(stack: Any, which: Any, x: Any, y: Any) -> Any:
        places.append((float(min(x.min(), y.min())), float(max(x.max(), y.max()))))
        return real(stack, which, x, y)

    monkeypatch.setattr(patches, "bilinear", watched)
    patches.draw(0, 10, 5, 5, rotate)
    assert places
    assert min(low for low, _ in places) >= -1e-3
    assert max(high for _, high in places) <= patches._CELL - 1 + 1e-3


def test_grey_levels_tell_nothing_on_patches() -> None:
    """Every histogram is flat: a classifier on grey statistics is near chance, where photographs would give it away."""
    one = patches.draw(0, 20, 1, 30, False)

    def statistics(images: np.ndarray) -> np.ndarray:
        grey = images[..., 0].reshape(len(images), -1).astype(float)
        deciles = np.percentile(grey, np.arange(5, 100, 10), axis=1).T
        return np.column_stack([grey.mean(1), grey.std(1), deciles]) / 255

    assert all(np.array_equal(one.images[s][..., 0], one.images[s][..., 2]) for s in SPLITS)
    train, test = statistics(one.images["train"]), statistics(one.images["test"])
    scale = train.std(0) + 1e-9
    model = LogisticRegression(max_iter=300).fit((train - train.mean(0)) / scale, one.labels["train"])
    accuracy = model.score((test - train.mean(0)) / scale, one.labels["test"])
    assert accuracy < 2.5 / len(one.classes)
