"""What a person would write by hand for a frozen trunk: the yardsticks of ``frozen.py``, each a program of its own.

Run: python -m tests.benchmarks.bare WHAT IMAGES WEIGHTS [EPOCHS], IMAGES a folder with train/ and val/, WEIGHTS a file
of mobilenetv1_100. Prints one line of JSON. WHAT is

- imports: of the packages that a run of tlx stands on, and nothing else.
- limit: the imports of torch and timm; decode every image once, one forward pass of the trunk, no head at all.
- loop: the PyTorch tutorial's way with a frozen trunk: every epoch decodes all images, passes them through the trunk,
  and trains a linear layer by SGD (0.001, momentum 0.9, a tenth of it every seven epochs, batches of four); every epoch
  is validated. Tells the best validation accuracy, and seconds an epoch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

SIZE, CROP = 224, 0.875
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
PART = 4  # images at once: what this trunk passes fastest of on a processor with 32 MB of cache


def imports() -> dict[str, Any]:
    """Import what tlx stands on."""
    import hydra
    import pytorch_lightning
    import timm
    import torch
    import torchmetrics

    return {"packages": [module.__name__ for module in (hydra, pytorch_lightning, timm, torch, torchmetrics)]}


def _trunk(weights: str) -> Any:
    """Build the network up to the first block of the fifth stage, pooled; images to features (N, 1024)."""
    import timm
    from safetensors.torch import load_file
    from torch import nn

    whole: Any = timm.create_model("mobilenetv1_100", pretrained=False, pad_type="same", bn_eps=1e-3)
    blocks = [*list(whole.blocks)[:4], whole.blocks[4][0]]
    trunk = nn.ModuleDict({"conv_stem": whole.conv_stem, "bn1": whole.bn1, "blocks": nn.Sequential(*blocks)})
    state = load_file(weights)
    named = {name.replace("blocks.4.0.", "blocks.4."): tensor for name, tensor in state.items()}
    missing = trunk.load_state_dict(named, strict=False).missing_keys
    assert not [name for name in missing if not name.endswith("num_batches_tracked")], missing
    for parameter in trunk.parameters():
        parameter.requires_grad = False
    return nn.Sequential(
        trunk["conv_stem"], trunk["bn1"], trunk["blocks"], nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()


def _folder(root: str, augmented: bool) -> Any:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    side = round(SIZE / CROP)
    view: list[Any] = [transforms.Resize(side), transforms.CenterCrop(SIZE)]
    if augmented:
        view = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
    return ImageFolder(root, transforms.Compose([*view, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]))


def limit(images: str, weights: str) -> dict[str, Any]:
    """Decode every image once, and pass it through the trunk once."""
    import torch
    from torch.utils.data import DataLoader

    trunk = _trunk(weights).to(memory_format=torch.channels_last)
    count, start = 0, time.perf_counter()
    with torch.inference_mode():
        for split in ("train", "val"):
            for batch, _ in DataLoader(_folder(f"{images}/{split}", False), 32, num_workers=2):
                for part in batch.contiguous(memory_format=torch.channels_last).split(PART):
                    count += len(trunk(part))
    return {"images": count, "pass_s": time.perf_counter() - start}


def loop(images: str, weights: str, epochs: int) -> dict[str, Any]:
    """Train a linear layer, the frozen trunk run anew for every image of every epoch."""
    import torch
    from torch.utils.data import DataLoader

    torch.manual_seed(0)
    trunk = _trunk(weights)
    train = DataLoader(_folder(f"{images}/train", True), 4, shuffle=True, num_workers=2)
    val = DataLoader(_folder(f"{images}/val", False), 4, num_workers=2)
    layer = torch.nn.Linear(1024, 2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.001, 0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.1)
    best, seconds = 0.0, []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch, labels in train:
            with torch.no_grad():
                features = trunk(batch)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(features), labels).backward()
            optimizer.step()
        schedule.step()
        right, count = 0, 0
        with torch.no_grad():
            for batch, labels in val:
                right += int((layer(trunk(batch)).argmax(1) == labels).sum())
                count += len(labels)
        best = max(best, right / count)
        seconds.append(time.perf_counter() - start)
    return {"best_accuracy": best, "epoch_s": seconds}


def main() -> None:
    """Run what is asked for."""
    ways: dict[str, Callable[..., dict[str, Any]]] = {"imports": imports, "limit": limit, "loop": loop}
    what, *given = sys.argv[1:]
    args: list[Any] = [*given[:2], *(int(word) for word in given[2:])] if what != "imports" else []
    sys.stdout.write(json.dumps(ways[what](*args)) + "\n")


if __name__ == "__main__":
    main()
