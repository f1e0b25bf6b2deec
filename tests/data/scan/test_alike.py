"""Copies and likes: what is compared is what is alike, and no more."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tlx.data.scan import alike
from tlx.data.scan.alike import DIFFERENCES, FREQUENCIES, equal, near
from tlx.data.scan.looks import _look


def flipped(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def brute(hashes: np.ndarray) -> set[tuple[int, int]]:
    """Compare every pair, bit by bit."""

    def far(one: int, other: int) -> int:
        return bin(one ^ other).count("1")

    rows = [[int(value) for value in row] for row in hashes]
    return {
        (i, j)
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if far(rows[i][0], rows[j][0]) <= FREQUENCIES and far(rows[i][1], rows[j][1]) <= DIFFERENCES
    }


def found(hashes: np.ndarray) -> set[tuple[int, int]]:
    """Spell out the pairs of images from their nodes and edges."""
    likes = near(hashes)
    joined = {(int(a), int(b)) for a, b in likes.edges} | {(int(b), int(a)) for a, b in likes.edges}
    return {
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if likes.node[i] == likes.node[j] or (likes.node[i], likes.node[j]) in joined
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.sampled_from([1, 7, 1 << 22]))
def test_bands_find_what_comparing_every_pair_finds(seed: int, centres: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    middle = rng.integers(0, 1 << 64, (centres, 2), dtype=np.uint64)
    rows = [
        [flipped(int(v), rng.choice(64, int(rng.integers(0, 9))).tolist()) for v in m] for m in middle for _ in range(9)
    ]
    hashes = np.array(rows, dtype=np.uint64)
    whole, alike.BLOCK = alike.BLOCK, block  # a small one takes the pairs in many parts
    try:
        assert found(hashes) == brute(hashes)
    finally:
        alike.BLOCK = whole


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [(FREQUENCIES, DIFFERENCES, True), (FREQUENCIES + 1, 0, False), (0, DIFFERENCES + 1, False)],
)
def test_the_distances_are_the_limits(first: int, second: int, joined: bool) -> None:
    hashes = np.array([[0, 0], [(1 << first) - 1, (1 << second) - 1]], dtype=np.uint64)
    assert near(hashes).strangers(np.array([0, 1])).tolist() == [joined, joined]


def test_nothing_and_one_image_are_alike_to_nothing() -> None:
    for count in (0, 1):
        hashes = np.zeros((count, 2), np.uint64)
        assert not near(hashes).strangers(np.zeros(count, np.int64)).any()
        assert not equal(np.zeros(count, "V32")).strangers(np.zeros(count, np.int64)).any()


def test_a_stranger_is_alike_to_one_of_another_kind() -> None:
    digests = np.array([b"a", b"b", b"a", b"c", b"b"], dtype="S1").astype("V32")
    copies = equal(digests)
    own = np.array([0, 1, 1, 0, 1])
    assert copies.strangers(own).tolist() == [True, False, True, False, False]
    assert copies.partner(0, own) == 2
    assert copies.partner(2, own) == 0


def test_what_is_alike_to_my_like_need_not_be_to_me() -> None:
    """Three in a row: the ends are too far from each other, though both are near the middle."""
    hashes = np.array([[0, 0], [0b1111, 0], [0b1111_1111, 0]], dtype=np.uint64)
    assert near(hashes).strangers(np.array([0, 0, 1])).tolist() == [False, True, True]


def scene(number: int) -> Image.Image:
    coarse = np.random.default_rng(number).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((300, 240), Image.Resampling.BICUBIC)


def test_saving_shrinking_and_brightening_leave_an_image_alike_and_others_are_not() -> None:
    def look(image: Image.Image) -> tuple[int, int]:
        return _look(lambda side: image)[1]

    changes = [
        lambda image: image,
        lambda image: image.resize((150, 120)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: image.convert("L").convert("RGB"),
    ]
    hashes = np.array([look(change(scene(number))) for number in range(12) for change in changes], dtype=np.uint64)
    pairs = found(hashes)
    same = {(i, j) for i in range(48) for j in range(i + 1, 48) if i // 4 == j // 4}
    assert pairs <= same
    assert len(pairs) > 0.9 * len(same)


def test_fifty_thousand_images_are_compared_in_no_time_also_where_many_share_a_band() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 64, (50_000, 2), dtype=np.uint64)
    hashes[:10_000, 0] &= np.uint64(0xFFFF_FFFF_F000_0000)  # flat in parts, as white backgrounds are
    hashes[:3_000] = hashes[0]  # and one image 3,000 times
    begin = time.perf_counter()
    likes = near(hashes)
    assert time.perf_counter() - begin < 60  # two seconds; every pair of 50,000 would be 1.25 billion
    own = np.zeros(len(hashes), np.int64)
    own[0] = 1
    assert likes.strangers(own)[:3_000].all()
