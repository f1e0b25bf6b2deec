"""Mistakes: the most confidently wrong test images, as the network saw them, and what in them spoke for its answer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tlx.data.source import Images
from tlx.data.transforms import Prepare
from tlx.errors import InputError
from tlx.network.activation_map import activation_maps
from tlx.network.network import Network
from tlx.results.predictions import Predicted
from tlx.storage import make_folder, write, write_json

log = logging.getLogger("tlx")

MOST = 12
HEAT = (230, 85, 13)
STRENGTH = 0.6  # of the heat where a map is 1
SMALL = 96  # pixels; smaller images are kept without loss


def keep_mistakes(folder: Path, network: Network, images: Images, prepare: Prepare, said: Predicted) -> None:
    """Write the most confidently wrong of a split's images into ``folder``, each with its activation map.

    ``mistakes.json`` lists them, and says why there are no maps where the network has none.
    """
    wrong = np.flatnonzero(~said.right)
    worst = wrong[np.argsort(-said.probability[wrong], kind="stable")][:MOST]
    make_folder(folder)
    seen = [prepare.sized(images.read(int(index), prepare.least)) for index in worst]
    maps, reason = _maps(network, seen, prepare, said.predicted[worst])
    rows: list[dict[str, Any]] = []
    for number, index in enumerate(worst):
        name = f"{number + 1:02d}{'.png' if prepare.image_size <= SMALL else '.jpg'}"
        _save(folder / name, seen[number])
        spoken = maps is not None and bool(maps[number].any())
        if maps is not None and spoken:
            _save(folder / f"map_{name}", _overlaid(seen[number], maps[number]))
        rows.append({"index": int(index), "file": name, "map": f"map_{name}" if spoken else None})
    write_json(folder / "mistakes.json", {"wrong": len(wrong), "why_no_maps": reason, "shown": rows})


def _maps(
    network: Network, seen: list[Image.Image], prepare: Prepare, classes: np.ndarray
) -> tuple[torch.Tensor | None, str]:
    """Return the activation maps for the predicted classes, or why there are none."""
    if not seen:
        return None, ""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    batch = torch.stack([prepare.normalise(image) for image in seen]).to(device)
    try:
        return activation_maps(network, batch, torch.from_numpy(classes).to(device)).cpu(), ""
    except InputError as error:
        return None, str(error)
    except (RuntimeError, TypeError, AttributeError, AssertionError) as error:  # a network that gradients cannot pass
        log.warning("no activation maps: %s", error)
        return None, "gradients do not pass through this network"


def _overlaid(image: Image.Image, spoken: torch.Tensor) -> Image.Image:
    """Lay a map over a grey copy of an image."""
    heat = Image.fromarray((255 * STRENGTH * spoken.numpy()).astype(np.uint8))
    grey = image.convert("L").convert("RGB")
    return Image.composite(Image.new("RGB", image.size, HEAT), grey, heat.resize(image.size, Image.Resampling.BICUBIC))


def _save(path: Path, image: Image.Image) -> None:
    kind = "PNG" if path.suffix == ".png" else "JPEG"
    write(path, lambda file: image.save(file, kind, **({"quality": 88} if kind == "JPEG" else {})))
