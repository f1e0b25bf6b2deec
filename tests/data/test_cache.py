"""Cache: what was decoded once is the same later, whoever wrote it, and whatever happened to it."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tlx.config.groups import NoAugment, StandardAugment
from tlx.data.cache import HEADER, Cached, FileSlots, MemorySlots, Size, cached, reduced
from tlx.data.module import ImageModule
from tlx.data.source import FileImages, Source
from tlx.data.transforms import Prepare
from tlx.errors import InputError, MachineError
from tlx.preprocessing import Preprocessing

MODE = Image.Resampling.BICUBIC
SIZE = Size(40, 80, MODE)
KINDS = ["ram", "disk"]


def photographs(root: Path, count: int = 6) -> FileImages:
    root.mkdir(exist_ok=True)
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        size = (130, 90) if index % 2 else (70, 200)
        Image.fromarray(noise).resize(size, MODE).save(root / f"{index}.jpg", quality=90)
    return FileImages(root, tuple(f"{i}.jpg" for i in range(count)), np.arange(count) % 2)


class Counting(FileImages):
    """Counts what is decoded."""

    @cached_property
    def decoded(self) -> Counter[int]:
        return Counter()

    def read(self, index: int, least: int | None = None) -> Image.Image:
        self.decoded[index] += 1
        return super().read(index, least)


def counting(images: FileImages) -> Counting:
    return Counting(images.root, images.paths, images.labels)


def pixels(images: object, least: int | None = 80) -> list[bytes]:
    read = [images.read(index, least) for index in range(len(images.labels))]  # type: ignore[attr-defined]
    return [f"{image.size}".encode() + image.tobytes() for image in read]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_decoded_once_and_is_the_same_afterwards(kind: str, tmp_path: Path) -> None:
    images = counting(photographs(tmp_path / "x"))
    kept = cached(images, kind, tmp_path / "cache", SIZE)
    first, second = pixels(kept), pixels(kept)
    assert first == second
    assert first == [
        f"{i.size}".encode() + i.tobytes() for k in range(6) for i in [reduced(FileImages.read(images, k, 80), SIZE)]
    ]
    assert set(images.decoded.values()) == {1}
    assert pixels(kept, None) == pixels(photographs(tmp_path / "x"), None)  # another size is decoded anew
    assert [kept.name(2), kept.content(2)] == [images.name(2), images.content(2)]
    assert kept.digests is images.digests


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_run_finds_what_the_last_one_kept(kind: str, tmp_path: Path) -> None:
    images = photographs(tmp_path / "x")
    first = pixels(cached(images, kind, tmp_path / "cache", SIZE))
    again = counting(photographs(tmp_path / "moved"))  # the same bytes under other names
    assert pixels(cached(again, kind, tmp_path / "cache", SIZE)) == first
    assert not again.decoded
    for size in (Size(41, 80, MODE), Size(40, 81, MODE), Size(40, 80, Image.Resampling.BILINEAR)):
        other = counting(photographs(tmp_path / "x"))
        pixels(cached(other, kind, tmp_path / "cache", size), size.least)
        assert len(other.decoded) == 6  # made otherwise: not the same
    Image.new("RGB", (50, 50)).save(tmp_path / "moved" / "3.jpg")
    changed = counting(FileImages(again.root, again.paths, again.labels))
    pixels(cached(changed, kind, tmp_path / "cache", SIZE))
    assert len(changed.decoded) == 6


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    images = photographs(tmp_path / "x")
    assert cached(images, "none", tmp_path / "cache", SIZE) is images
    assert not (tmp_path / "cache").exists()


def test_a_torn_or_altered_entry_is_decoded_anew(tmp_path: Path) -> None:
    images = photographs(tmp_path / "x")
    first = pixels(cached(images, "disk", tmp_path / "cache", SIZE))
    (file,) = (tmp_path / "cache").glob("[!.]*")
    slot = FileSlots(file, 0).path.stat().st_size // 6 // 4096 * 4096
    content = bytearray(file.read_bytes())
    size = cached(images, "disk", tmp_path / "cache", SIZE).slots.size  # type: ignore[attr-defined]
    assert size >= slot
    content[HEADER.size + 100] ^= 1  # a pixel of image 0
    content[size] ^= 1  # the width of image 1
    content[2 * size + 8] ^= 1  # the checksum of image 2
    content[3 * size : 3 * size + 4] = b"\xff\xff\xff\xff"  # a width beyond the slot
    file.write_bytes(content[: 5 * size + 100])  # and image 5 is torn
    again = counting(images)
    kept = cached(again, "disk", tmp_path / "cache", SIZE)
    assert pixels(kept) == first
    assert sorted(again.decoded) == [0, 1, 2, 3, 5]
    assert pixels(kept) == first
    assert set(again.decoded.values()) == {1}  # mended


def test_without_the_checksum_an_altered_entry_would_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above."""
    images = photographs(tmp_path / "x")
    monkeypatch.setattr("tlx.data.cache.zlib.crc32", lambda _: 7)
    first = pixels(cached(images, "disk", tmp_path / "cache", SIZE))
    (file,) = (tmp_path / "cache").glob("[!.]*")
    content = bytearray(file.read_bytes())
    content[HEADER.size + 100] ^= 1
    file.write_bytes(content)
    assert pixels(cached(images, "disk", tmp_path / "cache", SIZE)) != first


def test_very_long_images_are_not_kept(tmp_path: Path) -> None:
    Image.new("RGB", (400, 50)).save(tmp_path / "0.png")
    images = counting(FileImages(tmp_path, ("0.png",), np.array([0])))
    kept = cached(images, "disk", tmp_path / "cache", SIZE)
    assert [kept.read(0, 80).size for _ in range(2)] == [(320, 40)] * 2
    assert images.decoded[0] == 2


def _fill(kept: Cached, index: int) -> bytes:
    return kept.read(index, 80).tobytes()


@pytest.mark.parametrize(("kind", "start"), [("ram", "fork"), ("disk", "fork"), ("disk", "spawn"), ("ram", "spawn")])
def test_processes_share_what_they_keep(kind: str, start: str, tmp_path: Path) -> None:
    images = photographs(tmp_path / "x")
    kept = cached(images, kind, tmp_path / "cache", SIZE)
    assert isinstance(kept, Cached)
    with ProcessPoolExecutor(2, mp_context=get_context(start)) as pool:
        read = list(pool.map(_fill, [kept] * 12, [0, 1, 2, 3, 4, 5] * 2))
    expected = [kept.read(i, 80).tobytes() for i in range(6)]
    assert read == expected * 2
    assert pickle.loads(pickle.dumps(kept)).read(3, 80).tobytes() == expected[3]


def test_memory_is_shared_by_loader_workers_and_phases(tmp_path: Path) -> None:
    images = photographs(tmp_path / "x")
    source = Source(("a", "b"), images, images, images)
    prepare = Prepare(Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.875))

    def module(cache: str, workers: int) -> ImageModule:
        return ImageModule(
            source, prepare, StandardAugment(), 2, workers, "none", 0, cache=cache, cache_dir=tmp_path / "cache"
        )

    plain = [batch["image"] for batch in module("none", 0).val_dataloader()]
    for kind in KINDS:
        list(module(kind, 2).train_dataloader())
        list(module(kind, 2).val_dataloader())
        later = module(kind, 0)
        train, val = later._cached("train", later.draw), later._cached("val", prepare)
        for kept in (train, val):
            assert isinstance(kept, Cached)
            assert all(kept.slots.read(index) for index in range(6))  # the workers kept them
        assert all(torch.equal(a["image"], b) for a, b in zip(later.val_dataloader(), plain, strict=True))


def test_what_may_not_fit_into_memory_is_told(tmp_path: Path) -> None:
    images = photographs(tmp_path / "x")
    many = FileImages(images.root, images.paths, np.zeros(50_000_000, dtype=np.int64))
    vars(many)["digests"] = images.digests  # or six files would be hashed as fifty million
    with pytest.raises(InputError, match=r"data\.cache=ram would keep about .* GB.*choose data\.cache=disk"):
        cached(many, "ram", tmp_path, Size(224, 448, MODE))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    slots = FileSlots(Path("/dev/full"), 4096)
    with pytest.raises(MachineError, match=r"cannot write the image cache /dev/full: No space left.*free some space"):
        slots.write(0, b"x")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"data\.cache_dir=PATH, or data\.cache=none"):
        cached(photographs(tmp_path / "x"), "disk", tmp_path / "file", SIZE)


def test_memory_takes_room_only_where_it_is_written() -> None:
    slots = MemorySlots(1 << 20, 3000)  # three gigabytes of addresses
    slots.write(2999, HEADER.pack(1, 1, 5) + b"abc")
    assert slots.read(2999)[HEADER.size :] == b"abc"
    assert slots.read(0) == b""
    page = os.sysconf("SC_PAGE_SIZE")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * page if Path("/proc/self/statm").exists() else 0
    assert resident < 2_500_000_000


def test_no_augmentation_reads_what_evaluation_reads() -> None:
    prepare = Prepare(Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bicubic", 0.875))
    images = Source(("a", "b"), *[FileImages(Path(), (), np.zeros(0, dtype=np.int64))] * 3)
    assert ImageModule(images, prepare, NoAugment(), 2, 0, "none", 0).draw.least == prepare.least
