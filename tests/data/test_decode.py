"""Decode: every form of one picture gives the same pixels; what is too large is never decoded."""

from __future__ import annotations

import io
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tlx.config.groups import NoAugment
from tlx.data.decode import TooLargeError, decode, open_image
from tlx.data.module import ImageModule
from tlx.data.source import FileImages, Source
from tlx.data.transforms import Prepare
from tlx.preprocessing import Preprocessing


def picture() -> Image.Image:
    """Make a smooth picture, bright and dark, that no axis mirrors."""
    y, x = np.mgrid[0:96, 0:128] / 128
    waves = [np.sin(5 * x + 3 * y * y), np.cos(4 * y + x), np.sin(7 * x * y)]
    return Image.fromarray(np.uint8(np.rint(127.5 + 120 * np.stack(waves, -1))))


def forms(root: Path) -> dict[str, Path]:
    """Save one picture in every form that people have."""
    plain, grey = picture(), picture().convert("L")
    paths = {name: root / f"{name}.png" for name in ("plain", "opaque", "palette", "sixteen", "grey")}
    paths |= {name: root / f"{name}.tif" for name in ("cmyk", "unit", "float255", "float65535", "int32", "int32low")}
    paths |= {name: root / f"{name}.jpg" for name in ("jpeg", "jpegcmyk", "turned")}
    paths |= {"webp": root / "webp.webp", "bmp": root / "bmp.bmp", "animated": root / "animated.webp"}
    levels = np.asarray(grey)
    plain.save(paths["plain"])
    plain.convert("RGBA").save(paths["opaque"])
    plain.quantize(256).save(paths["palette"])
    Image.fromarray(levels.astype(np.uint16) * 257).save(paths["sixteen"])
    grey.save(paths["grey"])
    plain.convert("CMYK").save(paths["cmyk"])
    Image.fromarray((levels / 255).astype(np.float32)).save(paths["unit"])
    Image.fromarray(levels.astype(np.float32)).save(paths["float255"])
    Image.fromarray(levels.astype(np.float32) * 257).save(paths["float65535"])
    Image.fromarray(levels.astype(np.int32) * 257).save(paths["int32"])
    Image.fromarray(levels.astype(np.int32)).save(paths["int32low"])
    plain.save(paths["jpeg"], quality=98, subsampling=0)
    plain.convert("CMYK").save(paths["jpegcmyk"], quality=98, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees
    plain.transpose(Image.Transpose.ROTATE_90).save(paths["turned"], exif=exif, quality=98, subsampling=0)
    plain.save(paths["webp"], lossless=True)
    plain.save(paths["bmp"])
    plain.save(paths["animated"], save_all=True, append_images=[Image.new("RGB", plain.size)], lossless=True)
    return paths


TOLERANCE = {"jpeg": 4, "jpegcmyk": 6, "turned": 4, "cmyk": 2}  # of 255; all others: 1
ONE_CHANNEL = {"sixteen", "unit", "float255", "float65535", "int32", "int32low", "grey"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return forms(tmp_path_factory.mktemp("forms"))


FORMS = [
    "plain", "opaque", "palette", "sixteen", "grey", "cmyk", "unit", "float255", "float65535", "int32", "int32low",
    "jpeg", "jpegcmyk", "turned", "webp", "bmp", "animated",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_gives_its_pixels(form: str, saved: dict[str, Path]) -> None:
    shown = picture().convert("L") if form in ONE_CHANNEL else picture()
    shown = shown.quantize(256) if form == "palette" else shown  # 256 colours are not enough for this picture
    expected = np.asarray(shown.convert("RGB")).astype(int)
    got = decode(saved[form])
    assert (got.mode, got.size) == ("RGB", (128, 96))
    assert np.abs(np.asarray(got).astype(int) - expected).max() <= TOLERANCE.get(form, 1)
    assert np.array_equal(np.asarray(decode(saved[form].read_bytes())), np.asarray(got))


def test_a_conversion_that_clips_is_noticed(saved: dict[str, Path]) -> None:
    """The negative control: Pillow's own conversion of 16 bits and of numbers is far off."""
    for form in ("sixteen", "unit", "float65535", "int32"):
        with Image.open(saved[form]) as image:
            wrong = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(wrong - np.asarray(picture().convert("L").convert("RGB")).astype(int)).max() > 100


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 4, 8))
    image.paste((0, 0, 0, 128), (4, 0, 8, 4))
    image.save(tmp_path / "x.png")
    got = decode(tmp_path / "x.png")
    assert [got.getpixel(p) for p in ((1, 1), (6, 6))] == [(200, 0, 0), (255, 255, 255)]
    assert abs(got.getpixel((6, 1))[0] - 127) <= 1  # type: ignore[index]


def test_a_photograph_is_decoded_at_the_scale_that_is_needed(tmp_path: Path) -> None:
    large = picture().resize((1632, 1224), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=92)
    sizes = {side: decode(tmp_path / "x.jpg", side).size for side in (None, 1224, 613, 612, 306, 153, 20)}
    assert sizes == {
        None: (1632, 1224), 1224: (1632, 1224), 613: (1632, 1224), 612: (816, 612), 306: (408, 306),
        153: (204, 153), 20: (204, 153),
    }  # fmt: skip
    prepare = Prepare(Preprocessing(224, (0.0,) * 3, (1.0,) * 3, "bicubic", 0.875))
    whole, reduced = (prepare(decode(tmp_path / "x.jpg", side)) for side in (None, prepare.least))
    assert float((whole - reduced).abs().mean()) < 1.0  # of 255
    assert float((whole - reduced).abs().max()) < 10.0
    large.save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png", 32).size == (1632, 1224)  # no such scales


def bomb(side: int) -> bytes:
    """Make a tiny PNG file that says it is of ``side`` squared pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    packed = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_goes_off() -> None:
    started = time.monotonic()
    with pytest.raises(TooLargeError, match=r"144 megapixels are more than data\.max_megapixels=100"):
        decode(bomb(12_000))
    assert time.monotonic() - started < 1
    assert decode(bomb(12_000), max_pixels=150_000_000).size == (12_000, 12_000)
    assert Image.MAX_IMAGE_PIXELS is not None  # Pillow's own limit stands for everybody else


def test_a_limit_above_pillows_own_holds() -> None:
    with open_image(bomb(20_000), max_pixels=500_000_000) as image:  # Pillow alone refuses 179 megapixels
        assert image.size == (20_000, 20_000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bomb(20_000)))


def test_every_form_trains_and_is_measured_as_the_plain_picture(saved: dict[str, Path], tmp_path: Path) -> None:
    """From files to what the network sees: the plain pictures beside all their forms, in training and in measuring."""
    picture().save(tmp_path / "colour.png")
    picture().convert("L").save(tmp_path / "grey.png")
    picture().quantize(256).convert("RGB").save(tmp_path / "palette.png")
    plain = ["grey" if form in ONE_CHANNEL else "palette" if form == "palette" else "colour" for form in FORMS]
    labels = np.arange(len(FORMS)) % 2
    made = FileImages(Path("/"), tuple(str(saved[form])[1:] for form in FORMS), labels)
    expected = FileImages(tmp_path, tuple(f"{name}.png" for name in plain), labels)
    prepare = Prepare(Preprocessing(48, (0.0,) * 3, (1 / 255,) * 3, "bilinear", 1.0))  # pixels from 0 to 255
    seen = []
    for images in (made, expected):
        module = ImageModule(Source(("a", "b"), images, images, images), prepare, NoAugment(), 4, 0, "none", 0)
        loaders = (module.train_dataloader(), module.val_dataloader(), module.plain_loader("test"))
        batches = [batch for loader in loaders for batch in loader]
        seen.append((torch.cat([b["image"] for b in batches]), torch.cat([b["index"] for b in batches])))
    (pixels, order), (plain_pixels, plain_order) = seen
    assert torch.equal(order, plain_order)
    for index, form in enumerate(FORMS):
        off = (pixels - plain_pixels)[order == index].abs().max()
        assert off <= TOLERANCE.get(form, 1) + 1, form  # resizing rounds once more
