"""Stateless randomness: every random draw is a function of what it is for, never of what was drawn before."""

from __future__ import annotations

import hashlib


def seed_for(*parts: int | str) -> int:
    """Derive a 63-bit seed from parts such as (seed, "augment", epoch, index); the same in every process."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
