"""Head: pooling plus the new classifier on the trunk's features."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tlx.config.groups import CosineHead, LinearHead, MlpHead, NeighboursHead
from tlx.errors import InputError
from tlx.network.neighbours import Neighbours
from tlx.network.pool import Pool
from tlx.randomness import seed_for

HeadConfig = LinearHead | MlpHead | CosineHead | NeighboursHead
HEADS: dict[str, type[HeadConfig]] = {kind.kind: kind for kind in (LinearHead, MlpHead, CosineHead, NeighboursHead)}


class Cosine(nn.Module):
    """Logits s * cos(x, w_k) with a learned factor s > 0 (Gidaris and Komodakis, 2018; Chen et al., 2019).

    The weights w start from normal(0, 0.01), as a linear head's: their length says nothing, but the shorter they are,
    the further a step turns them. s starts from the temperature and is kept as its logarithm. Lengths are taken in
    float32, and that of x counts as 1e-4 at least: features that are all zero stay finite, and so do their gradients.
    """

    def __init__(self, width: int, num_classes: int, temperature: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, width).normal_(0.0, 0.01, generator=generator))
        self.log_temperature = nn.Parameter(torch.full((1,), math.log(temperature)))  # not a scalar: FSDP takes none

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Classify features (N, D)."""
        directions = F.normalize(features.float(), dim=1, eps=1e-4)
        cosines = F.linear(directions, F.normalize(self.weight.float(), dim=1))
        return cosines * self.log_temperature.float().exp()


class Head(nn.Module):
    """Pooling and a classifier: features to logits (N, num_classes).

    linear: dropout, and one fully connected layer. It starts from normal(0, 0.01) weights and zero biases.
    mlp: hidden layers, each fully connected, normalised (LayerNorm, BatchNorm or nothing), GELU and dropout; then a
    layer as in linear. Hidden weights start from normal(0, sqrt(2 / fan-in)) (He et al., 2015), biases from zero.
    cosine: see Cosine.
    neighbours: see Neighbours; it has nothing to train.
    All of it is drawn from the seed, by generators of its own.

    Raises:
        InputError: Features that cannot be pooled as the config says.
    """

    def __init__(self, config: HeadConfig, layout: str, prefix: int, width: int, num_classes: int, seed: int) -> None:
        super().__init__()
        self.config = config
        self.kind = config.kind
        self.width = width
        self.num_classes = num_classes
        with torch.random.fork_rng(devices=[]):  # modules draw first weights of their own, which nobody keeps
            self.pool = Pool(layout, prefix, config.pool, width, seed)
            self.hidden: nn.Module = nn.Identity()
            self.dropout = nn.Dropout(config.dropout if isinstance(config, LinearHead | MlpHead) else 0.0)
            if isinstance(config, MlpHead):
                self.hidden = _hidden(config, width, torch.Generator().manual_seed(seed_for(seed, "head", "hidden")))
                width = config.hidden[-1]
            generator = torch.Generator().manual_seed(seed)
            if isinstance(config, CosineHead):
                self.cosine = Cosine(width, num_classes, config.temperature, generator)
            elif isinstance(config, NeighboursHead):
                self.neighbours = Neighbours(config, width, num_classes)
            else:
                self.linear = nn.Linear(width, num_classes)
                with torch.no_grad():
                    self.linear.weight.normal_(0.0, 0.01, generator=generator)
                    self.linear.bias.zero_()

    @property
    def solvable(self) -> bool:
        """Whether pooled features and a linear solver give the best head: only ``linear`` has anything to learn."""
        return self.kind == "linear" and not self.pool.learned

    @property
    def words(self) -> str:
        """Say what is new, in words."""
        if self.kind == "neighbours":
            return f"the votes of {self.neighbours.rows.shape[0]:,} training images"
        if self.kind == "mlp":
            count = 1 + sum(isinstance(module, nn.Linear) for module in self.hidden.modules())
            new = f"the new head of {count} fully connected layers"
        else:
            new = "the new fully connected layer" if self.kind == "linear" else "the new cosine classifier"
        return f"{new} and its {self.pool.kind} pooling" if self.pool.learned else new

    def no_weight_decay(self) -> set[str]:
        """Name the parameters that are not weights, as timm's models do."""
        return {f"pool.{name}" for name in self.pool.no_weight_decay()}

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Classify features."""
        return self.classify(self.pool(features))

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        """Classify pooled features (N, D).

        Raises:
            InputError: A batch of one image where BatchNorm trains.
        """
        if self.kind == "neighbours":
            votes: torch.Tensor = self.neighbours(pooled)
            return votes
        logits: torch.Tensor = self.cosine(pooled) if self.kind == "cosine" else self._connected(pooled)
        return logits

    def _connected(self, pooled: torch.Tensor) -> torch.Tensor:
        if self.training and len(pooled) == 1 and any(isinstance(m, nn.BatchNorm1d) for m in self.hidden.modules()):
            raise InputError(
                "head.norm=batch cannot train on one image a batch", "raise data.batch_size, or norm=layer"
            )
        logits: torch.Tensor = self.linear(self.dropout(self.hidden(pooled)))
        return logits


def _hidden(config: MlpHead, width: int, generator: torch.Generator) -> nn.Sequential:
    norms: dict[str, Callable[[int], nn.Module]] = {
        "layer": nn.LayerNorm,
        "batch": nn.BatchNorm1d,
        "none": lambda _: nn.Identity(),
    }
    modules: list[nn.Module] = []
    for out in config.hidden:
        layer = nn.Linear(width, out, bias=config.norm != "batch")  # BatchNorm would take a bias away again
        with torch.no_grad():
            layer.weight.normal_(0.0, math.sqrt(2 / width), generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        between = [nn.Dropout(config.dropout)] if modules else []
        modules += [*between, layer, norms[config.norm](out), nn.GELU()]
        width = out
    return nn.Sequential(*modules)
