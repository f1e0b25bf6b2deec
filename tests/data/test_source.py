"""Sources: every kind of image becomes RGB as a person sees it, or is named."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from tlx.data.module import Views
from tlx.data.source import ArrayImages, FileImages, fingerprint
from tlx.data.transforms import Prepare
from tlx.door.verdict import judge
from tlx.errors import EXIT_INPUT, EXIT_MACHINE, InputError, MachineError
from tlx.preprocessing import Preprocessing

PREPARE = Prepare(Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))


def files(root: Path, *names: str) -> FileImages:
    return FileImages(root, names, np.zeros(len(names), dtype=np.int64))


def scene() -> Image.Image:
    """Make an image whose four quarters differ: nothing can be turned or flipped unseen."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:] = (250, 10, 10), (10, 250, 10)
    pixels[16:, :24], pixels[16:, 24:] = (10, 10, 250), (240, 240, 240)
    return Image.fromarray(pixels)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    w, h = image.size
    places = ((4, 4), (w - 5, 4), (4, h - 5), (w - 5, h - 5))
    return [tuple(128 * (int(v) > 127) for v in image.getpixel(p)) for p in places]  # type: ignore[union-attr]


RED, GREEN, BLUE, WHITE = (128, 0, 0), (0, 128, 0), (0, 0, 128), (128, 128, 128)


@pytest.mark.parametrize(
    ("orientation", "size", "seen"),
    [
        (1, (48, 32), [RED, GREEN, BLUE, WHITE]),
        (2, (48, 32), [GREEN, RED, WHITE, BLUE]),
        (3, (48, 32), [WHITE, BLUE, GREEN, RED]),
        (6, (32, 48), [BLUE, RED, WHITE, GREEN]),
        (8, (32, 48), [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_images_are_turned_as_exif_says(
    orientation: int, size: tuple[int, int], seen: list[tuple[int, ...]], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    scene().save(tmp_path / "x.jpg", exif=exif, quality=95)
    image = files(tmp_path, "x.jpg").read(0)
    assert image.size == size
    assert corners(image) == seen


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "PA", "CMYK", "L", "LA", "1", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    image = scene().convert("L").convert("LA") if mode == "LA" else scene()
    if mode == "PA":  # a palette with a transparency for every colour: Pillow warns when that is dropped
        image = scene().convert("P", palette=Image.Palette.ADAPTIVE)
        image.save(tmp_path / "x.png", transparency=bytes([255, 255, 255, 255]))
    else:
        ending = "tif" if mode in ("CMYK", "YCbCr") else "png"
        image.convert(mode).save(tmp_path / f"x.{ending}")
    name = next(tmp_path.iterdir()).name
    got = files(tmp_path, name).read(0)
    assert (got.mode, got.size) == ("RGB", (48, 32))
    if mode not in ("L", "LA", "1"):
        assert corners(got) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(ending: str, tmp_path: Path) -> None:
    """Pillow's own conversion turns every level above 255 of 65535 to white."""
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / f"x.{ending}")
    got = np.asarray(files(tmp_path, f"x.{ending}").read(0))
    assert np.abs(got[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1
    assert np.array_equal(got[..., 0], got[..., 2])


@pytest.mark.parametrize(
    "values", [[-1.0, 0.5], [0.0, 70000.0], [float("nan"), 0.5]], ids=["negative", "beyond 16 bits", "nan"]
)
def test_numbers_without_a_scale_are_refused(values: list[float], tmp_path: Path) -> None:
    Image.fromarray(np.array([values] * 2, np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match=r"f\.tif cannot be decoded .*no scale"):
        files(tmp_path, "f.tif").read(0)


def damaged(root: Path) -> dict[str, Path]:
    """Make what people have in their folders."""
    rng = np.random.default_rng(0)
    noisy = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noisy.save(root / "whole.jpg")
    noisy.save(root / "whole.png")
    paths = {name: root / name for name in ("zero.jpg", "page.jpg", "half.jpg", "half.png", "text.png")}
    paths["zero.jpg"].touch()
    paths["page.jpg"].write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")
    paths["text.png"].write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("half.jpg", "half.png"):
        content = (root / f"whole{Path(name).suffix}").read_bytes()
        paths[name].write_bytes(content[: len(content) // 2])
    return paths


@pytest.mark.parametrize("name", ["zero.jpg", "page.jpg", "half.jpg", "half.png", "text.png"])
def test_a_damaged_image_is_named(name: str, tmp_path: Path) -> None:
    path = damaged(tmp_path)[name]
    with pytest.raises(InputError, match=f"the image {path} cannot be decoded .*; remove it or replace it"):
        files(tmp_path, name).read(0)
    assert files(tmp_path, "whole.jpg").read(0).size == (64, 64)


def test_a_damaged_image_is_named_in_one_line_through_a_worker(tmp_path: Path) -> None:
    """A worker wraps the error in its own traceback; what a person sees is the last line of it."""
    path = damaged(tmp_path)["page.jpg"]
    views = Views(files(tmp_path, "whole.jpg", "page.jpg"), PREPARE)
    loader = DataLoader(views, sampler=[(0, 0), (0, 1)], num_workers=1)  # type: ignore[arg-type, var-annotated]
    with pytest.raises(InputError) as caught:
        list(loader)
    assert "Traceback" in str(caught.value)
    code, message = judge(caught.value)
    assert code == EXIT_INPUT
    assert message.startswith(f"the image {path} cannot be decoded (")
    assert message.endswith("data.on_bad=skip leaves such images out, data.scan=full finds them before training")
    assert "\n" not in message


def test_an_image_that_went_away_is_named(tmp_path: Path) -> None:
    for method in ("read", "content"):
        with pytest.raises(InputError, match=r"gone\.png is gone"):
            getattr(files(tmp_path, "gone.png"), method)(0)


def test_an_image_that_may_not_be_read_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(MachineError, match=r"x\.png may not be read") as caught:
        files(tmp_path, "x.png").read(0)
    assert caught.value.exit_code == EXIT_MACHINE


FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(FORMATS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6), st.floats(0.3, 1)
)
def test_whatever_happened_to_a_file_it_is_read_or_named(
    tmp_path: Path, form: str, flips: list[tuple[float, int]], share: float
) -> None:
    path = tmp_path / f"x.{form}"
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    scene().save(path, form, **({"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
    content = bytearray(path.read_bytes())
    for place, value in flips:
        content[min(len(content) - 1, int(place * min(400, len(content))))] = value
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd tags
        try:
            assert files(tmp_path, path.name).read(0).mode == "RGB"
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017


def test_arrays_and_files_of_the_same_pixels_read_alike(tmp_path: Path) -> None:
    scene().save(tmp_path / "x.png")
    array = ArrayImages("made/train", np.asarray(scene())[None], np.array([1]))
    assert np.array_equal(np.asarray(array.read(0)), np.asarray(files(tmp_path, "x.png").read(0)))
    assert array.name(0) == "made/train/0"
    assert files(tmp_path, "x.png").name(0) == "x.png"


def test_a_fingerprint_knows_pixels_labels_and_order_but_no_names(tmp_path: Path) -> None:
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    labels = np.array([0, 1])
    one = fingerprint(ArrayImages("a", pixels, labels))
    assert one == fingerprint(ArrayImages("b", pixels.copy(), labels.copy()))
    flipped = pixels.copy()
    flipped[1, 0, 0, 0] ^= 1
    others = [
        fingerprint(ArrayImages("a", flipped, labels)),
        fingerprint(ArrayImages("a", pixels, labels[::-1])),
        fingerprint(ArrayImages("a", pixels[::-1], labels[::-1])),
        fingerprint(ArrayImages("a", pixels[:1], labels[:1])),
    ]
    assert len({one, *others}) == 5
    for name in ("x.png", "y.png"):
        scene().save(tmp_path / name)
    assert fingerprint(files(tmp_path, "x.png")) == fingerprint(files(tmp_path, "y.png"))
    os.utime(tmp_path / "x.png", (0, 0))
    assert fingerprint(files(tmp_path, "x.png")) == fingerprint(files(tmp_path, "y.png"))
