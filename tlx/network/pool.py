"""Pooling: from a trunk's maps or tokens to one vector an image."""

from __future__ import annotations

import math

import torch
from timm.layers import AttentionPoolLatent
from torch import nn

from tlx.config.groups import HeadCut, LayerCut
from tlx.errors import InputError
from tlx.network.cut import Cut, Point, Trunk, cut_at, layers, probe
from tlx.randomness import seed_for

SMALLEST = 1e-6  # GeM raises to a power what is at least this
EXPONENTS = (1.0, 10.0)  # from the average to nearly the maximum
POSITIONS: dict[str, tuple[int, ...]] = {"NCHW": (2, 3), "NHWC": (1, 2), "NLC": (1,)}


class GeM(nn.Module):
    """Generalised mean, mean(x^p)^(1/p), with one learned p, 3 at first (Radenovic, Tolias and Chum, 2018).

    Features below 1e-6, negative ones with them, count as 1e-6, as in the authors' code: they add nothing to the mean
    and get no gradient. p is used within [1, 10]. The powers are taken through logarithms in float32, where no
    feature overflows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))  # not a scalar: FSDP takes none

    def forward(self, features: torch.Tensor, positions: tuple[int, ...]) -> torch.Tensor:
        """Pool over the dimensions ``positions``."""
        p = self.p.float().clamp(*EXPONENTS)
        count = math.prod(features.shape[i] for i in positions)
        powers = p * features.float().clamp(min=SMALLEST).log()
        return ((powers.logsumexp(positions) - math.log(count)) / p).exp().to(features.dtype)


class Pool(nn.Module):
    """Pools a trunk's features over the image: (N, D, H, W), (N, H, W, D) or (N, L, D) to (N, D).

    ``kind``: "avg", "max", their mean "avgmax", "gem" (see there), "attention", and "token", which takes the class
    token. "auto" is the average, or nothing where the backbone has pooled already. All but "token" leave out the
    ``prefix`` tokens before the patches' own.

    "attention": a learned query attends to all positions (Zhai et al., 2022, "Scaling vision transformers"; timm's
    AttentionPoolLatent), in heads of 64 features or a little more, behind it a residual layer of the features' own
    width. The query and every projection start from normal(0, 1/sqrt(D)), biases from zero, drawn from the seed: at
    first the attention is nearly even.

    Raises:
        InputError: Features that cannot be pooled so.
    """

    def __init__(self, layout: str, prefix: int, kind: str = "auto", width: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.layout = layout
        self.prefix = prefix
        self.kind = kind
        if layout == "vector" and kind != "auto":
            raise InputError(
                f"head.pool={kind} finds features here that the backbone has pooled itself",
                "choose head.pool=auto, or cut before that: cut=stage (see inspect)",
            )
        if kind == "token" and not (layout == "NLC" and prefix):
            raise _no_class_token()
        if kind == "gem":
            self.gem = GeM()
        elif kind == "attention":
            self.attention = _attention(width, torch.Generator().manual_seed(seed_for(seed, "head", "pool")))

    @property
    def learned(self) -> bool:
        """Whether the pooling has parameters."""
        return any(True for _ in self.parameters())

    def no_weight_decay(self) -> set[str]:
        """Name the parameters that are not weights, as timm's models do."""
        return {"attention.latent"} if self.kind == "attention" else set()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool."""
        if self.layout == "vector":
            return features
        if self.kind == "token":
            return features[:, 0]
        if self.layout == "NLC":
            features = features[:, self.prefix :]
        positions = POSITIONS[self.layout]
        if self.kind == "max":
            return features.amax(positions)
        if self.kind == "avgmax":
            return 0.5 * (features.mean(positions) + features.amax(positions))
        if self.kind == "gem":
            pooled: torch.Tensor = self.gem(features, positions)
            return pooled
        if self.kind == "attention":
            attended: torch.Tensor = self.attention(self._tokens(features))
            return attended
        return features.mean(positions)

    def _tokens(self, features: torch.Tensor) -> torch.Tensor:
        if self.layout == "NCHW":
            return features.flatten(2).transpose(1, 2)
        return features.flatten(1, -2)


def _attention(width: int, generator: torch.Generator) -> nn.Module:
    count = max(n for n in range(1, max(1, width // 64) + 1) if width % n == 0)
    # A residual layer four times as wide, as its authors have it, would hold most of a small network's parameters.
    pool = AttentionPoolLatent(width, num_heads=count, mlp_ratio=1.0, norm_layer=nn.LayerNorm)
    with torch.no_grad():
        pool.latent.normal_(0.0, width**-0.5, generator=generator)
        for module in pool.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0.0, width**-0.5, generator=generator)
                module.bias.zero_()
    return pool


def cut_for(pool: str, model: nn.Module, cut: Cut, image_size: int) -> tuple[Trunk, str]:
    """Cut ``model`` in place for a head that pools as ``pool`` says; return the trunk and the head's own pooling.

    Behind the whole backbone, "auto" leaves the pooling to the backbone; any other takes the backbone's away. At the
    last layer, "auto" becomes "token" where the backbone's classifier reads the class token.

    Raises:
        InputError: A cut that does not exist, a backbone that keeps its own pooling, a token that is not there.
    """
    if isinstance(cut, HeadCut) and pool != "auto":
        _unpool(model, pool, image_size)
    read = pool == "auto" and _reads_token_at(model, cut, image_size)
    trunk = cut_at(model, cut, image_size)
    if pool == "token" and not _holds_token(trunk):
        raise _no_class_token()
    return trunk, "token" if read and _holds_token(trunk) else pool


def _unpool(model: nn.Module, pool: str, image_size: int) -> None:
    """Take the backbone's own pooling away, and prove by passes that maps or tokens come out, none of them lost."""
    probe(model, image_size)  # an image size that does not fit is told as such
    proven = False
    # A class token that is not announced among the prefix tokens cannot be told from the patches' own.
    if getattr(model, "cls_token", None) is None or hasattr(model, "num_prefix_tokens"):
        try:
            model.reset_classifier(0, global_pool="")  # type: ignore[operator]
            maps, left = (Trunk(model, Point(kind, kind), image_size) for kind in ("layer", "head"))
        except (InputError, AssertionError, AttributeError, RuntimeError, TypeError, ValueError):
            pass  # it can only pool, or hands over a list
        else:
            widths = (getattr(model, "num_features", None), getattr(model, "head_hidden_size", None))
            proven = left.layout != "vector" and left.width in widths and _places(left) == _places(maps)
    if not proven:
        raise InputError(
            f"head.pool={pool} needs features that are not pooled, and this backbone keeps its own pooling",
            "choose head.pool=auto, or cut before that: cut=stage (see inspect)",
        )


def _places(trunk: Trunk) -> int:
    """Count the positions of maps, or the tokens."""
    return math.prod(trunk.shape) // trunk.width


def _reads_token_at(model: nn.Module, cut: Cut, image_size: int) -> bool:
    """Whether nothing but the backbone's classifier, which reads the class token, lies behind a cut at a layer."""
    if not isinstance(cut, LayerCut) or getattr(model, "global_pool", None) != "token":
        return False
    return layers(model, image_size)[-1:] == [cut.name]


def _holds_token(trunk: Trunk) -> bool:
    """Whether a class token stands before the patches': the backbone has one, and what it holds moves the features."""
    token = getattr(trunk.model, "cls_token", None)
    if trunk.layout != "NLC" or not trunk.prefix or not isinstance(token, torch.Tensor):
        return False
    plain = probe(trunk, trunk.image_size)
    with torch.no_grad():
        kept = token.clone()
        token.copy_(torch.randn(token.shape, generator=torch.Generator().manual_seed(0)))
        moved = not torch.equal(probe(trunk, trunk.image_size), plain)
        token.copy_(kept)
    return moved


def _no_class_token() -> InputError:
    return InputError(
        "head.pool=token needs a class token, and the features at this cut hold none",
        "choose another pooling, or a backbone that has one, such as backbone=vit_small, with cut=head or cut=layer",
    )
