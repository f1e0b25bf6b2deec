"""Headers: what a file tells before it is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlx.data.decode import TooLargeError
from tlx.data.header import Header, read_header
from tlx.data.source import ArrayImages


def plain(size: tuple[int, int] = (30, 20)) -> Image.Image:
    return Image.new("RGB", size, "red")


@pytest.mark.parametrize(
    ("orientation", "size", "turned"),
    [(None, (30, 20), False), (1, (30, 20), False), (2, (30, 20), True), (6, (20, 30), True), (9, (30, 20), False)],
)
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_the_size_is_the_one_that_a_person_sees(
    ending: str, orientation: int | None, size: tuple[int, int], turned: bool, tmp_path: Path
) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = tmp_path / f"x.{ending}"
    plain().save(path, exif=exif)
    header = read_header(path)
    assert header == Header(path.stat().st_size, *size, "RGB", turned=turned)
    assert read_header(path.read_bytes()) == header  # bytes tell what a file tells


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_turns_nothing(tmp_path: Path) -> None:
    plain().save(tmp_path / "x.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert not read_header(tmp_path / "x.jpg").turned


def test_frames_are_told_and_several_views_of_one_moment_are_none(tmp_path: Path) -> None:
    more = [Image.new("RGB", (30, 20), colour) for colour in ("blue", "green")]
    for ending in ("gif", "webp", "png", "tif"):
        plain().save(tmp_path / f"x.{ending}", save_all=True, append_images=more)
        assert read_header(tmp_path / f"x.{ending}").animated, ending
        plain().save(tmp_path / f"y.{ending}")
        assert not read_header(tmp_path / f"y.{ending}").animated, ending
    plain().save(tmp_path / "x.mpo", save_all=True, append_images=more)  # as cameras write beside a preview
    assert not read_header(tmp_path / "x.mpo").animated


def test_the_limit_holds_and_what_runs_programs_is_no_image(tmp_path: Path) -> None:
    plain((200, 100)).save(tmp_path / "x.png")
    with pytest.raises(TooLargeError, match=r"0\.02 megapixels"):
        read_header(tmp_path / "x.png", max_pixels=19_999)
    assert read_header(tmp_path / "x.png", max_pixels=20_000).width == 200
    plain().save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as image:  # Pillow alone takes it, and asks Ghostscript
        assert image.format == "EPS"
    with pytest.raises(OSError, match="cannot identify"):
        read_header(tmp_path / "x.jpg")


def test_arrays_tell_their_shape() -> None:
    images = ArrayImages("made", np.zeros((2, 5, 7, 3), np.uint8), np.array([0, 1]))
    assert images.header(1) == Header(105, 7, 5, "RGB")
