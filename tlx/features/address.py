"""Address: what a row of features is made of. Never a time, a path or a name.

A folder's address is that of the trunk and of all that lies between an image's bytes and its row. A row's is the
image's bytes, and how its view was drawn.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from tlx.data.decode import decode
from tlx.data.source import Images
from tlx.data.transforms import Draw, Prepare
from tlx.features.shard import ID_BYTES
from tlx.network.depths import Depths
from tlx.network.fingerprint import combined, hashed
from tlx.network.network import Network

FORMAT = 1
ORIENTATION = 0x0112
PACKAGES = ("torch", "torchvision", "timm", "pillow")


def ingredients(network: Network | Depths, prepare: Prepare, precision: str, device: str) -> dict[str, Any]:
    """Return, as plain data, what features depend on besides the image."""
    trunk = network if isinstance(network, Depths) else network.trunk
    point = trunk.point
    made_of = {
        "format": FORMAT,
        "weights": combined(hashed(trunk.state_dict())),
        "trunk": hashlib.sha256(_described(trunk.model).encode()).hexdigest(),
        "cut": [point.kind, point.name, point.stage],
        "pool": "depths" if isinstance(network, Depths) else network.head.pool.kind,
        "preprocessing": asdict(prepare.seen),
        "prepared": _digest(prepare(decode(_photograph(), prepare.least))),
        "precision": precision,
        "memory_format": str(trunk.memory_format),
        "device": device,
        "versions": {package: version(package) for package in PACKAGES},
    }
    if device == "cuda":
        made_of["matmul"] = torch.get_float32_matmul_precision()
    return made_of


def address(made_of: dict[str, Any]) -> str:
    """Fold ingredients into a name for a folder."""
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def ids(images: Images, draw: Draw | None = None, views: int = 0) -> np.ndarray:
    """Return the addresses of a split's rows: (N, 16) uint8 of its images, or (views * N, 16) of drawn views of them.

    A view is drawn by (seed, view, index): an image at another index is another draw.
    """
    digests = images.digests.view(np.uint8).reshape(-1, 32)[:, :ID_BYTES]
    if not views:
        return np.ascontiguousarray(digests)
    assert draw is not None
    drawn_so = _digest(draw(decode(_photograph(), draw.least), 0, 0))
    how = json.dumps([draw.seed, asdict(draw.augment), drawn_so], sort_keys=True)
    drawn = [
        hashlib.blake2b(digest.tobytes() + f"{how} {view} {index}".encode(), digest_size=ID_BYTES).digest()
        for view in range(views)
        for index, digest in enumerate(images.digests)
    ]
    return np.frombuffer(b"".join(drawn), np.uint8).reshape(-1, ID_BYTES)


@cache
def _photograph() -> bytes:
    """Return a fixed photograph, lying on its side: what is made of it changes with the code that prepares."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BILINEAR)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = BytesIO()
    image.save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def _digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def _described(model: torch.nn.Module) -> str:
    """Describe a model's modules; where an object shows its place in memory, without that."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(model))
