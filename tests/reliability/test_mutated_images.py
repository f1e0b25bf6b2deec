"""R7: damaged and forged images are refused by name: nothing else is raised, nothing crashes, memory stays small."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY, Answer, Scorecard, runs_of
from tlx.config.groups import FolderData
from tlx.data.decode import decode, pixels
from tlx.data.fault import HEAD
from tlx.data.header import read_header
from tlx.data.source import naming
from tlx.errors import TlxError

SEED = 20261124
LIMIT = 4.0  # megapixels: what is declared larger must not be decoded
GREW_MB, SECONDS, ADDRESSES = 250, 10, 8 * 2**30  # what images may cost; a busy machine takes its time

# Images that were once answered by another error than a declared one, by their numbers: kept for good.
FOUND = (2090, 4898, 8894, 43068, 45324, 48150)


@cache
def originals() -> dict[str, tuple[bytes, ...]]:
    """Make small pictures in six formats, each in the forms that have readers of their own."""
    y, x = np.mgrid[0:96, 0:128] / 128
    waves = [np.sin(5 * x + 3 * y * y), np.cos(4 * y + x), np.sin(7 * x * y)]
    plain = Image.fromarray(np.uint8(np.rint(127.5 + 120 * np.stack(waves, -1))))
    grey = plain.convert("L")
    levels = np.asarray(grey)
    sixteen = Image.fromarray(levels.astype(np.uint16) * 257)
    seen = plain.convert("RGBA")
    seen.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    frames: Any = {"save_all": True, "append_images": [plain.rotate(90), plain.rotate(180)]}

    def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **how)
        return file.getvalue()

    numbers = [Image.fromarray((levels / 255).astype(np.float32)), Image.fromarray(levels.astype(np.int32))]
    return {
        "JPEG": (
            saved(plain, "JPEG"), saved(grey, "JPEG"), saved(plain.convert("CMYK"), "JPEG"),
            saved(plain, "JPEG", progressive=True, exif=exif, icc_profile=b"x" * 200),
        ),
        "PNG": (
            saved(plain, "PNG"), saved(sixteen, "PNG"), saved(seen, "PNG", exif=exif), saved(grey.convert("1"), "PNG"),
            saved(plain.quantize(64), "PNG", transparency=3), saved(plain, "PNG", **frames),
        ),
        "GIF": (saved(plain, "GIF"), saved(grey, "GIF", interlace=0), saved(plain, "GIF", **frames, transparency=2)),
        "BMP": (
            saved(plain, "BMP"), saved(grey, "BMP"), saved(grey.convert("1"), "BMP"), saved(plain.quantize(16), "BMP"),
        ),
        "TIFF": (
            saved(plain, "TIFF"), saved(plain, "TIFF", compression="tiff_lzw"), saved(sixteen, "TIFF"),
            saved(plain, "TIFF", compression="jpeg"), saved(seen, "TIFF", compression="tiff_adobe_deflate"),
            saved(grey.convert("1"), "TIFF", compression="group4"), saved(plain.convert("CMYK"), "TIFF"),
            *(saved(image, "TIFF", exif=exif) for image in numbers), saved(plain, "TIFF", **frames),
        ),
        "WEBP": (
            saved(plain, "WEBP"), saved(plain, "WEBP", lossless=True), saved(seen, "WEBP", exif=exif),
            saved(plain, "WEBP", **frames),
        ),
    }  # fmt: skip


FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")


def mutated(number: int) -> bytes:
    """Make the image of a number: one of the originals, damaged or forged."""
    draw = random.Random(f"{SEED} {number}")
    kind = FORMATS[number % len(FORMATS)]
    content = bytearray(draw.choice(originals()[kind]))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(MUTATIONS)(draw, content) or bytearray(b"\0")
    if kind == "PNG" and draw.random() < 0.7:
        content = with_sums(content)  # or nothing behind the first damage is ever looked at
    return bytes(content)


def _flipped(draw: random.Random, content: bytearray) -> bytearray:
    span = draw.choice((64, 200, len(content)))  # headers tell more than pixels
    for _ in range(draw.choice((1, 2, 5, 20))):
        content[draw.randrange(min(span, len(content)))] ^= 1 << draw.randrange(8)
    return content


def _truncated(draw: random.Random, content: bytearray) -> bytearray:
    return content[: draw.randrange(len(content))]


def _spliced(draw: random.Random, content: bytearray) -> bytearray:
    other = draw.choice(originals()[draw.choice(FORMATS)])
    start, at = draw.randrange(len(other)), draw.randrange(len(content))
    return content[:at] + other[start : start + draw.choice((4, 32, 500))] + content[at + draw.choice((0, 4, 32)) :]


def _doubled(draw: random.Random, content: bytearray) -> bytearray:
    start, at = draw.randrange(len(content)), draw.randrange(len(content))
    return content[:at] + content[start : start + draw.choice((8, 100, 5000))] + content[at:]


def _beheaded(draw: random.Random, content: bytearray) -> bytearray:
    length = draw.choice((2, 4, 8, 12, 30, 60))
    return bytearray(draw.choice(originals()[draw.choice(FORMATS)])[:length]) + content[length:]


def _filled(draw: random.Random, content: bytearray) -> bytearray:
    start = draw.randrange(len(content))
    end = min(len(content), start + draw.choice((1, 4, 16, 300)))
    content[start:end] = bytes([draw.choice((0, 1, 127, 255))]) * (end - start)
    return content


def _forged(draw: random.Random, content: bytearray) -> bytearray:
    """Put a telling number where the header may have one."""
    order, form = draw.choice("<>"), draw.choice("HIQ")
    told = draw.choice((0, 1, 2**14, 2**15, 2**16 - 1, 9000)) * (1 if form == "H" else draw.choice((1, 2**15)))
    number = struct.pack(order + form, told)
    at = draw.randrange(max(1, min(draw.choice((40, 300)), len(content) - 8)))
    content[at : at + len(number)] = number
    return content


def _enlarged(draw: random.Random, content: bytearray) -> bytearray:
    """Let the header declare another size, wherever it stands: the sizes of all originals are known."""
    sides = {96: draw.choice((97, 1900, 9000, 60_000, 2**16 - 1)), 128: draw.choice((129, 2000, 9000, 65_000, 1))}
    for side, told in sides.items():
        for form in ("<H", ">H", "<I", ">I"):
            old, new = struct.pack(form, side), struct.pack(form, told)
            at = content[:400].find(old)
            if at >= 0 and draw.random() < 0.7:
                content[at : at + len(old)] = new
    return content


MUTATIONS = (_flipped, _flipped, _truncated, _spliced, _doubled, _beheaded, _filled, _forged, _forged, _enlarged)


def with_sums(content: bytearray) -> bytearray:
    """Mend the checksums of a PNG file's chunks."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(content):
            break
        content[end : end + 4] = zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return content


def answer(content: bytes) -> str:
    """Read an image's header and decode it, as the sources do; return the kind of the error, or ``decoded``."""
    try:
        with naming("x", lambda: content[:HEAD]):
            header = read_header(content, pixels(LIMIT))
            image = decode(content, max_pixels=pixels(LIMIT))
            reduced = decode(content, 24, pixels(LIMIT))
        assert image.mode == reduced.mode == "RGB"
        assert header.width * header.height <= pixels(LIMIT)
    except TlxError as error:
        several = "raw, for it takes several lines: " if "\n" in str(error) else ""
        return f"{several}declared {getattr(error, 'reason', '')}"
    except Exception as error:
        return f"raw {type(error).__name__}: {str(error)[:100]}"
    return "decoded"


def look(first: int, last: int) -> None:
    """Answer for a range of images and say so, one line each: what a process does that may crash."""
    import resource
    import warnings

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    assert [answer(content) for all_of in originals().values() for content in all_of].count("decoded") >= 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, last):
        began = time.monotonic()
        told = answer(mutated(number))
        grew = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps([number, told, time.monotonic() - began, grew]), flush=True)


def looked(first: int, last: int) -> Iterator[tuple[int, str, float, float]]:
    """Let a process answer for a range of images; after a crash, another goes on behind the one that crashed it."""
    while first < last:
        code = f"from tests.reliability.test_mutated_images import look; look({first}, {last})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900)
        for line in done.stdout.splitlines():
            number, told, seconds, grew = json.loads(line)
            yield number, told, seconds, grew
            first = number + 1
        if done.returncode:
            yield first, f"crash {done.returncode}: {done.stderr[-500:]}", 0.0, 0.0
            first += 1


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.reliability)])
def test_any_image_is_decoded_or_refused_by_name(scorecard: Scorecard, count: int) -> None:
    answers = list(looked(0, count))
    for number in FOUND:
        answers += looked(number, number + 1)
    wrong = {number: told for number, told, _, _ in answers if told.startswith(("raw", "crash"))}
    crashes = sum(told.startswith("crash") for told in wrong.values())
    counts = Counter(told.split(":")[0] for _, told, _, _ in answers)
    scorecard("R7", {"mutated images": count, "crashes": crashes, "raw exceptions": len(wrong) - crashes})
    assert not wrong, f"{counts}: {wrong}"
    assert max(seconds for _, _, seconds, _ in answers) < SECONDS
    assert max(grew for _, _, _, grew in answers) < GREW_MB
    assert all(counts[what] > 0.02 * count for what in ("decoded", "declared broken", "declared no image")), counts
    assert counts["declared too large"] > 0.005 * count


def test_the_search_finds_what_is_not_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: without the guard, each of these images is answered by an error of Pillow's insides."""
    assert {answer(mutated(number))[:3] for number in FOUND} <= {"dec"}  # declared or decoded
    bare = {name: function.__wrapped__ for name, function in (("decode", decode), ("read_header", read_header))}
    for name, function in bare.items():
        monkeypatch.setitem(globals(), name, function)
    assert any(answer(mutated(number)).startswith("raw IndexError") for number in FOUND)


def test_a_crash_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a process that ends at its second image is told, and another goes on with the third."""
    crash = "t.mutated = lambda number: os.abort() if number == 1 else b''; t."
    run = subprocess.run

    def crashing(words: list[str], **how: Any) -> Any:
        look = words[2].partition("; ")[2]
        return run([*words[:2], f"import os, tests.reliability.test_mutated_images as t; {crash}{look}"], **how)

    monkeypatch.setattr(subprocess, "run", crashing)
    assert [told[:5] for _, told, _, _ in looked(0, 3)] == ["decla", "crash", "decla"]


def _written(folder: Path, numbers: range) -> int:
    """Write mutated images into class folders, under endings that do not always fit; return how many are good."""
    good = 0
    for number in numbers:
        content = mutated(number)
        ending = ("jpg", "png", "gif", "bmp", "tif", "webp")[(number + number // 50) % 6]
        where = folder / ("one", "other")[number % 2]
        where.mkdir(parents=True, exist_ok=True)
        (where / f"{number:05d}.{ending}").write_bytes(content)
        good += answer(content) == "decoded"
    return good


@pytest.mark.filterwarnings("ignore")  # of Pillow, about what it reads
@pytest.mark.parametrize("count", [120, pytest.param(2000, marks=pytest.mark.reliability)])
def test_a_scan_leaves_out_whatever_is_damaged(tmp_path: Path, scorecard: Scorecard, count: int) -> None:
    from tlx.data.open import open_source

    good = _written(tmp_path, range(count))
    folder = FolderData(root=str(tmp_path), on_bad="skip", max_megapixels=LIMIT)
    source = open_source(folder, seed=0)
    kept = sum(len(source.split(split).labels) for split in ("train", "val", "test"))
    endings = sum(source.facts["skipped"].values())  # of formats that nobody trains on
    assert good - endings <= kept <= good
    for split in ("train", "val", "test"):
        images = source.split(split)
        assert all(images.read(index).mode == "RGB" for index in range(len(images.labels)))
    with pytest.raises(TlxError, match="images cannot be used"):
        open_source(FolderData(root=str(tmp_path), scan="full", max_megapixels=LIMIT), seed=0)
    scorecard("R7", {"of them scanned": count})


@pytest.mark.reliability
@pytest.mark.filterwarnings("ignore")
def test_predict_says_of_each_what_is_wrong(
    tlx: Callable[..., Answer], photos: Path, tmp_path: Path, scorecard: Scorecard
) -> None:
    assert tlx("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "data.batch_size=8").code == 0
    (run,) = runs_of(tmp_path)
    good = _written(tmp_path / "damaged", range(1000))
    words = ("trainer=cpu", f"max_megapixels={LIMIT}", "output=said")
    answer = tlx("predict", f"run={run}", f"images={tmp_path / 'damaged'}", *words)
    assert (answer.code, "Traceback" in answer.err + answer.out) == (0, False), answer.err
    about = json.loads((tmp_path / "said" / "about.json").read_text())
    assert (about["rows"], about["rows"] - about["faults"]) == (1000, good)
    scorecard("R7", {"of them predicted": 1000})
