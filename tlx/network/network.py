"""Network: a trunk and a head, assembled from the config, described in plain data and built again from that."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlx.config.groups import (
    AllCut,
    CustomBackbone,
    LoraFreeze,
    PretrainedInit,
    ScratchInit,
    TimmBackbone,
)
from tlx.errors import InputError
from tlx.network.again import again
from tlx.network.anatomy import HEAD, TRUNK, Anatomy
from tlx.network.backbone import Backbone, create, fitting
from tlx.network.cut import Cut, Trunk
from tlx.network.depths import Depths
from tlx.network.drop_path import must_drop
from tlx.network.freeze import Freeze, asleep, trained
from tlx.network.head import Head, HeadConfig
from tlx.network.init import LackingError, load_pretrained
from tlx.network.lora import attach, merge
from tlx.network.memory_format import formats, lay_out
from tlx.network.points import description_of
from tlx.network.pool import cut_for
from tlx.network.reach import cut_all, within_reach
from tlx.network.trace import ImageSizeError, forget, probe
from tlx.preprocessing import Preprocessing

KEPT_AGAIN = 5 * 10**7  # parameters, 200 MB: of larger networks no copy is kept for the next job


class Network(nn.Module):
    """Images (N, 3, S, S) to logits (N, num_classes). What is frozen stays in eval mode whoever calls ``train()``."""

    def __init__(self, trunk: Trunk | Depths, head: Head, freeze: Freeze) -> None:
        super().__init__()
        lay_out(trunk, formats(trunk)[0])
        self.trunk = trunk
        self.head = head
        self.freeze = freeze
        self.anatomy = Anatomy(trunk, head)
        self.trained: frozenset[str] = frozenset()
        self.asleep: list[nn.Module] = []
        self.register_load_state_dict_post_hook(_forget)
        self.set_epoch(0)

    def set_epoch(self, epoch: int, phase: int = 0) -> None:
        """Freeze and wake parameters as the policy says for this epoch of this phase."""
        self.trained = self.trained_in(epoch, phase)
        for name, parameter in self.named_parameters():
            parameter.requires_grad = name in self.trained
        self.asleep = asleep(self, self.trunk, self.freeze, self.trained)
        self.train(self.training)

    def replace_head(self, head: Head) -> None:
        """Put another head in the place of the one there is."""
        self.head = head
        self.anatomy = Anatomy(self.trunk, head)
        self.set_epoch(0)

    def trained_in(self, epoch: int, phase: int = 0) -> frozenset[str]:
        """Name the parameters that train in an epoch of a phase."""
        return trained(self.freeze, self.anatomy, epoch, phase)

    def train(self, mode: bool = True) -> Network:
        """Set the mode of what is awake; what sleeps stays in eval mode, its BatchNorm statistics and dropout too."""
        super().train(mode)
        for module in self.asleep:
            module.eval()
        return self

    @property
    def trunk_frozen(self) -> bool:
        """Whether the whole trunk is frozen, so that its features are the same in every epoch."""
        return not any(name.startswith("trunk.") for name in self.trained)

    def frozen_tensors(self) -> dict[str, torch.Tensor]:
        """Collect every parameter that is frozen now, and every buffer of a module that sleeps."""
        inside = {id(m) for outer in self.asleep for m in outer.modules()}
        tensors: dict[str, torch.Tensor] = {n: p for n, p in self.named_parameters() if n not in self.trained}
        for path, module in self.named_modules():
            if id(module) in inside:
                tensors.update(module.named_buffers(prefix=path, recurse=False))
        return tensors

    def no_weight_decay(self) -> set[str]:
        """Name the parameters that are not weights, as the architecture and the head do."""
        own: set[str] = getattr(self.trunk.model, "no_weight_decay", set)()
        return {TRUNK + name for name in own} | {HEAD + name for name in self.head.no_weight_decay()}

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


def _made_of(made: tuple[Network, Preprocessing, Surgery]) -> list[Path] | None:
    """List the files of a network that a copy is kept of: none of the user's own code, and no large one."""
    network, _, surgery = made
    if surgery.kept >= KEPT_AGAIN or description_of(network.trunk.model) is not None:
        return None
    return [surgery.weights] if surgery.weights else []


@again(_made_of)
def build(
    backbone: TimmBackbone | CustomBackbone,
    init: PretrainedInit | ScratchInit,
    cut: Cut | AllCut,
    freeze: Freeze,
    head: HeadConfig,
    num_classes: int,
    seed: int,
    image_size: int | None = None,
    drop_path: float = 0.0,
) -> tuple[Network, Preprocessing, Surgery]:
    """Assemble a network: create the backbone, cut it, load its weights, add a head, freeze.

    Raises:
        InputError: Whatever is wrong with any of the parts, named.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # random weights are a function of the seed alone
        whole = _fitted(backbone, image_size, drop_path)
    trunk, pool = cut_trunk(head.pool, whole.model, cut, whole.preprocessing.image_size)
    if drop_path:
        must_drop(trunk, backbone.name)
    weights = _load(whole.model, backbone, init, image_size) if isinstance(init, PretrainedInit) else None
    if isinstance(trunk, Depths):
        trunk.calibrate()
    new = Head(replace(head, pool=pool), trunk.layout, trunk.prefix, trunk.width, num_classes, seed)
    kept = parameter_count(trunk)
    if isinstance(freeze, LoraFreeze):
        attach(trunk.model, freeze, seed)
    return Network(trunk, new, freeze), whole.preprocessing, Surgery(kept, whole.parameters - kept, weights)


def _load(
    model: nn.Module, backbone: TimmBackbone | CustomBackbone, init: PretrainedInit, image_size: int | None
) -> Path:
    """Load weights into a cut model; where they end too early, name the deepest cut that they reach."""
    try:
        return load_pretrained(model, backbone, init)
    except LackingError as error:
        if (deepest := within_reach(backbone, init, image_size)) is None:
            raise
        raise InputError(error.what, f"the deepest cut that they reach: {deepest}") from None


def cut_trunk(pool: str, model: nn.Module, cut: Cut | AllCut, image_size: int) -> tuple[Trunk | Depths, str]:
    """Cut ``model`` in place; return what is kept, and the kind of pooling that its features get."""
    return (cut_all(model, cut, image_size), pool) if isinstance(cut, AllCut) else cut_for(pool, model, cut, image_size)


def finished(network: Network) -> Network:
    """Return the network as it is kept: adapters merged into their weights, in a copy; else itself."""
    if not isinstance(network.freeze, LoraFreeze):
        return network
    copy = deepcopy(network)
    merge(copy.trunk.model)
    return copy


def _fitted(backbone: TimmBackbone | CustomBackbone, image_size: int | None, drop_path: float) -> Backbone:
    """Create a backbone that takes images of its size; where it does not, name a size that it takes."""
    try:
        whole = create(backbone, image_size, drop_path)
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
    """Say in words what was cut."""
    point = network.trunk.point
    whole = "the classifier" if network.trunk.layout == "vector" else "the pooling and the classifier"
    places = {"head": f"behind everything but {whole}", "all": f"behind {point.name}, every stage read"}
    return {
        "cut": places.get(point.kind, f"behind {point.kind} {point.name}"),
        "features": network.trunk.width,
        "weights": str(surgery.weights) if surgery.weights else None,
        "head": network.head.words,
    }


def parameter_count(module: nn.Module) -> int:
    """Count parameters."""
    return sum(p.numel() for p in module.parameters())
