"""Network: a trunk and a head, assembled from the config, described in plain data and built again from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlx.config.check import check
from tlx.config.groups import (
    CustomBackbone,
    DepthCut,
    EarlyCut,
    HeadCut,
    LayerCut,
    LinearHead,
    NoFreeze,
    PretrainedInit,
    ScratchInit,
    StageCut,
    TimmBackbone,
    TrunkFreeze,
)
from tlx.errors import InputError
from tlx.network.backbone import Backbone, Preprocessing, create, fitting
from tlx.network.custom import named_by_user
from tlx.network.cut import Trunk, cut_at
from tlx.network.freeze import sleeping, trained
from tlx.network.head import Head
from tlx.network.init import load_pretrained
from tlx.network.trace import ImageSizeError, forget, probe
from tlx.storage import read_json, read_tensors, write_json, write_tensors

FORMAT = 1


class Network(nn.Module):
    """Images (N, 3, S, S) to logits (N, num_classes). What is frozen stays in eval mode whoever calls ``train()``."""

    def __init__(self, trunk: Trunk, head: Head, freeze: TrunkFreeze | NoFreeze) -> None:
        super().__init__()
        # Channels last: 1.3 times as fast for convolutions on a CPU (measured in pairs), the same values elsewhere.
        for tensor in (*trunk.parameters(), *trunk.buffers()):
            if tensor.dim() == 4:  # of five, as lambda layers have them, `to` makes nothing
                tensor.data = tensor.data.contiguous(memory_format=trunk.memory_format)
        self.trunk = trunk
        self.head = head
        self.freeze = freeze
        self.trained: frozenset[str] = frozenset()
        self._asleep: list[nn.Module] = []
        self.register_load_state_dict_post_hook(_forget)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Freeze and wake parameters as the policy says for this epoch."""
        self.trained = trained(self.freeze, [n for n, _ in self.named_parameters()], epoch)
        for name, parameter in self.named_parameters():
            parameter.requires_grad = name in self.trained
        self._asleep = sleeping(self, self.trained)
        self.train(self.training)

    def train(self, mode: bool = True) -> Network:
        """Set the mode of what is awake; what sleeps stays in eval mode, its BatchNorm statistics and dropout too."""
        super().train(mode)
        for module in self._asleep:
            module.eval()
        return self

    @property
    def trunk_frozen(self) -> bool:
        """Whether the whole trunk is frozen, so that its features are the same in every epoch."""
        return not any(name.startswith("trunk.") for name in self.trained)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images."""
        logits: torch.Tensor = self.head(self._features(images))
        return logits

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute pooled features (N, D)."""
        pooled: torch.Tensor = self.head.pool(self._features(images))
        return pooled

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        # Without a graph through a frozen trunk, its activations are not kept: less memory, the same gradients.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.trunk_frozen):
            features: torch.Tensor = self.trunk(images.contiguous(memory_format=self.trunk.memory_format))
        return features


def _forget(network: nn.Module, _: Any) -> None:
    forget(network)


@dataclass(frozen=True)
class Surgery:
    """What was done to a backbone: parameter counts, and where its weights came from (None: random)."""

    kept: int
    dropped: int
    weights: Path | None


def build(
    backbone: TimmBackbone | CustomBackbone,
    init: PretrainedInit | ScratchInit,
    cut: HeadCut | EarlyCut | DepthCut | StageCut | LayerCut,
    freeze: TrunkFreeze | NoFreeze,
    head: LinearHead,
    num_classes: int,
    seed: int,
    image_size: int | None = None,
) -> tuple[Network, Preprocessing, Surgery]:
    """Assemble a network: create the backbone, cut it, load its weights, add a head, freeze.

    Raises:
        InputError: Whatever is wrong with any of the parts, named.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # random weights are a function of the seed alone
        whole = _fitted(backbone, image_size)
    trunk = cut_at(whole.model, cut, whole.preprocessing.image_size)
    weights = load_pretrained(whole.model, backbone, init) if isinstance(init, PretrainedInit) else None
    new = Head(head, trunk.layout, trunk.prefix, trunk.width, num_classes, seed)
    network = Network(trunk, new, freeze)
    kept = parameter_count(trunk)
    return network, whole.preprocessing, Surgery(kept, whole.parameters - kept, weights)


def _fitted(backbone: TimmBackbone | CustomBackbone, image_size: int | None) -> Backbone:
    """Create a backbone that takes images of its size; where it does not, name a size that it takes."""
    try:
        whole = create(backbone, image_size)
        probe(whole.model, whole.preprocessing.image_size)
    except ImageSizeError as error:
        wanted = image_size or backbone.image_size
        mend = fitting(backbone, wanted) if wanted and isinstance(backbone, TimmBackbone) else error.mend
        raise InputError(error.what, mend) from None
    return whole


def counts(network: Network, surgery: Surgery) -> dict[str, int]:
    """Count parameters: of the backbone ``kept`` and ``dropped``; of kept and new ones ``trained`` and ``frozen``."""
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    trained_count = sum(size for name, size in sizes.items() if name in network.trained)
    frozen = sum(sizes.values()) - trained_count
    return {"kept": surgery.kept, "dropped": surgery.dropped, "trained": trained_count, "frozen": frozen}


def described(network: Network, surgery: Surgery) -> dict[str, Any]:
    """Say in words what was cut and what trains."""
    point = network.trunk.point
    return {
        "cut": "behind everything but the classifier" if point.kind == "head" else f"behind {point.kind} {point.name}",
        "features": network.trunk.width,
        "weights": str(surgery.weights) if surgery.weights else None,
        "trained": "the new fully connected layer" if network.trunk_frozen else "the whole network",
    }


def parameter_count(module: nn.Module) -> int:
    """Count parameters."""
    return sum(p.numel() for p in module.parameters())


def save(
    folder: Path,
    network: Network,
    backbone: TimmBackbone | CustomBackbone,
    head: LinearHead,
    seen: Preprocessing,
    classes: list[str],
) -> None:
    """Write ``folder/network.json`` and ``folder/weights.safetensors``: all that rebuilds the network, no code.

    Of a backbone of the user's own only that it is one: its name would be an invitation to run it.
    """
    folder.mkdir(exist_ok=True)
    write_tensors(folder / "weights.safetensors", network.state_dict())
    point = network.trunk.point
    description = {
        "format": FORMAT,
        "backbone": (
            {"kind": backbone.kind}
            if isinstance(backbone, CustomBackbone)
            else {"name": backbone.name, "kwargs": dict(backbone.kwargs or {})}
        ),
        "cut": {"kind": point.kind, "name": point.name, "stage": point.stage},
        "head": asdict(head),
        "preprocessing": asdict(seen),
        "classes": classes,
    }
    write_json(folder / "network.json", description)


def load(folder: Path, own: TimmBackbone | CustomBackbone | None = None) -> tuple[Network, Preprocessing, list[str]]:
    """Build a saved network again, all of it frozen but its head, in eval mode.

    What is saved of a backbone of the user's own names no code: ``own`` does.

    Raises:
        InputError: A file that is missing, damaged, or does not fit.
    """
    try:
        return _loaded(folder, read_json(folder / "network.json"), own)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        mend = "restore its files or train again"
        if isinstance(own, CustomBackbone):
            mend = f"{mend}; or name the backbone.target and backbone.kwargs that it was trained with"
        raise InputError(f"the model in {folder} is damaged ({reason})", mend) from None


def _loaded(
    folder: Path, plain: Any, own: TimmBackbone | CustomBackbone | None
) -> tuple[Network, Preprocessing, list[str]]:
    if plain["format"] > FORMAT:
        raise InputError(f"{folder} was written by a newer tlx (format {plain['format']})", "upgrade tlx")
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["preprocessing"].items()}
    seen = Preprocessing(**settings)
    if plain["backbone"].get("kind") == CustomBackbone.kind:
        backbone: TimmBackbone | CustomBackbone = named_by_user(own, folder)
    else:
        backbone = check({"kind": "timm", **plain["backbone"]}, TimmBackbone, "backbone")
    model = create(backbone, seen.image_size).model
    at = plain["cut"]
    cuts: Mapping[str, Any] = {
        "head": HeadCut(),
        "stage": StageCut(stage=at["stage"]),
        "layer": LayerCut(name=at["name"]),
    }
    trunk = cut_at(model, cuts[at["kind"]], seen.image_size)
    config = check(plain["head"], LinearHead, "head")
    head = Head(config, trunk.layout, trunk.prefix, trunk.width, len(plain["classes"]), seed=0)
    network = Network(trunk, head, TrunkFreeze())
    network.load_state_dict(read_tensors(folder / "weights.safetensors"))
    return network.eval(), seen, list(plain["classes"])
