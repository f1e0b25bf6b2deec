"""Anatomy: where each parameter of a network stands, which is what freeze policies and learning rates go by."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from functools import cached_property

from timm.models import group_parameters
from torch import nn

from tlx.config.groups import LayerCut, StageCut
from tlx.errors import InputError
from tlx.network.cut import Stage, Trunk, cut_at, layers, stages
from tlx.network.depths import Depths
from tlx.network.points import description_of

TRUNK = "trunk.model."
HEAD = "head."
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class Anatomy:
    """Names of a network's parameters, ``trunk.model.*`` and ``head.*``, by stage and by kind.

    Computed from the trunk when first asked for, and kept: it does not change while the network trains.
    """

    def __init__(self, trunk: Trunk | Depths, head: nn.Module) -> None:
        self._trunk = trunk
        self.trunk = tuple(TRUNK + name for name, _ in trunk.model.named_parameters())
        self.head = tuple(HEAD + name for name, _ in head.named_parameters())
        self.chosen: tuple[int, ...] | None = None  # the stages that freeze=surgical trains, once that is decided

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The names of the trunk's stages, from the input on; one that announces none is a single stage."""
        count = max(self.stage.values(), default=-1) + 1
        return tuple(stage.name for stage in stages(self._trunk.model)[:count]) or ("trunk",)

    @cached_property
    def stage(self) -> dict[str, int]:
        """Map each trunk parameter to the first stage at whose end a cut would keep it.

        What no stage keeps, such as a last normalisation, belongs to the last one.
        """
        model = deepcopy(self._trunk.model)
        kept: dict[str, int] = {}
        present = [TRUNK + name for name, _ in model.named_parameters()]
        for stage in reversed(stages(model)):
            try:
                names = _shortened(model, stage, self._trunk.image_size)
            except (AssertionError, AttributeError, IndexError, TypeError):  # the trunk was cut before this stage's end
                continue
            kept |= dict.fromkeys((TRUNK + name for name in names), stage.index)
        last = max(kept.values(), default=0)
        return {name: kept.get(name, last) for name in present}

    @cached_property
    def depth(self) -> dict[str, int]:
        """Map each trunk parameter to its layer, counted from the input, as the architecture groups them."""
        grouped = getattr(self._trunk.model, "group_matcher", None)
        if grouped is None:
            return self.stage
        layered = group_parameters(self._trunk.model, grouped(coarse=False), reverse=True)
        order = {layer: index for index, layer in enumerate(sorted(set(layered.values())))}
        return {TRUNK + name: order[layer] for name, layer in layered.items()}

    @cached_property
    def norms(self) -> frozenset[str]:
        """The trunk's parameters that belong to normalisation layers."""
        found = set()
        for path, module in self._trunk.model.named_modules():
            if isinstance(module, NORMS) or "norm" in type(module).__name__.lower():
                vectors = [name for name, p in module.named_parameters(recurse=False) if p.ndim <= 1]
                found |= {f"{TRUNK}{path}.{name}" for name in vectors}
        return frozenset(found)

    @cached_property
    def biases(self) -> frozenset[str]:
        """The trunk's biases, those of queries and values apart from their layer (``q_bias``) among them."""
        return frozenset(n for n in self.trunk if n.rpartition(".")[2] == "bias" or n.endswith("_bias"))

    def last(self, count: int) -> frozenset[str]:
        """The parameters of the last ``count`` stages."""
        return self.of_stages(range(len(self.stages) - count, len(self.stages)))

    def of_stages(self, indices: Iterable[int]) -> frozenset[str]:
        """The parameters of some stages."""
        wanted = set(indices)
        return frozenset(name for name in self.trunk if self.stage[name] in wanted)

    def upto(self, end: int | str) -> frozenset[str]:
        """The parameters that a cut at ``end``, a stage or a layer, would keep.

        Raises:
            InputError: There is no such place in the trunk, with those there are.
        """
        names = list(self.stages)
        copy, size = deepcopy(self._trunk.model), self._trunk.image_size
        if isinstance(end, int) or end in names:
            index = names.index(end) if isinstance(end, str) else end
            if not 0 <= index < len(names):
                listed = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
                raise InputError(f"freeze.stage={end} does not exist", f"one of: {listed}; or a layer")
            if index == len(names) - 1:
                return frozenset(self.trunk)
            trunk = cut_at(copy, StageCut(stage=index), size)
        else:
            valid = layers(copy, size)
            if end not in valid:
                listed = ", ".join(dict.fromkeys(names + valid))  # a stage may end with a layer of its name
                raise InputError(f"freeze.stage={end} does not exist", f"one of: {listed}")
            trunk = cut_at(copy, LayerCut(name=end), size)
        return frozenset(TRUNK + name for name, _ in trunk.model.named_parameters())


def _shortened(model: nn.Module, stage: Stage, image_size: int) -> list[str]:
    """Cut a model in place at the end of a stage; name the parameters that are left."""
    if description_of(model):  # what timm's method does, a network of the user's own cannot
        cut_at(model, StageCut(stage=stage.index), image_size)
    else:
        model.prune_intermediate_layers([stage.index], prune_norm=True, prune_head=True)  # type: ignore[operator]
    return [name for name, _ in model.named_parameters()]
