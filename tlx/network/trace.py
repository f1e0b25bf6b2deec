"""Trace: what a forward pass runs, and what its output depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tlx.errors import InputError
from tlx.network.points import description_of
from tlx.one_thread import one_thread

LIGHT = 10**8  # parameters; a ViT-B has fewer


class ImageSizeError(InputError):
    """An input size that a network cannot take."""


def read(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Compute a timm model's features before its own pooling; of a network of the user's own, all there is."""
    if description_of(model):
        return model(images)
    return model.forward_features(images)  # type: ignore[operator]


class Reader(nn.Module):
    """Reads a network's features, as ``read`` does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features."""
        return read(self.model, images)


def probe(module: nn.Module, image_size: int, seed: int = 0, graph: bool = False) -> torch.Tensor:
    """Run one random image through a module in eval mode and leave its state as it was.

    With ``graph``, the output knows what it was computed from, for ``connected``.

    Raises:
        ImageSizeError: The module cannot take this image size.
    """
    image = torch.randn(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(seed))
    image = image.to(next((p.device for p in module.parameters()), image.device))
    try:
        with one_thread(_light(module)), evaluating(module), torch.set_grad_enabled(graph), _gradients(module, graph):
            features: torch.Tensor = module(image)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"the backbone cannot take images of {image_size} pixels: {reason}"
        raise ImageSizeError(what, "leave data.image_size=null for its own size") from None
    return features


def _light(module: nn.Module) -> bool:
    """Whether one image passes through a module in moments, on one thread as well."""
    return sum(p.numel() for p in module.parameters() if not is_lazy(p)) < LIGHT


def forget(module: nn.Module) -> None:
    """Let a module give up what it keeps of its weights in eval mode: timm's attention biases, indexed once.

    Other weights, or a copy, would meet what was made of the old ones. ``train()`` alone empties that store.
    """
    training = {m: m.training for m in module.modules()}
    module.train()
    for m, mode in training.items():
        m.training = mode


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode for a while, and leave nothing of that behind."""
    forget(module)
    training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, mode in training.items():
            m.training = mode
        forget(module)


@contextmanager
def _gradients(module: nn.Module, on: bool) -> Iterator[None]:
    """Let every parameter take part in the graph, for a while."""
    asleep = [p for p in module.parameters() if on and not p.requires_grad and p.is_floating_point()]
    for parameter in asleep:
        parameter.requires_grad = True
    try:
        yield
    finally:
        for parameter in asleep:
            parameter.requires_grad = False


def connected(node: Any) -> set[int]:
    """Collect the ids of the parameters that an output depends on, given its ``grad_fn``.

    This is what a backward pass would reach; none is run.
    """
    found: set[int] = set()
    seen: set[Any] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting.extend(before for before, _ in node.next_functions)
    return found


@dataclass
class Run:
    """What a module returned when it first ran: the object itself, and its place in the graph (None: not in it)."""

    output: Any = None
    node: Any = None


def record(module: nn.Module, model: nn.Module, image_size: int) -> tuple[dict[str, Run], Any, Any]:
    """Run ``module``, which reads ``model``, with a graph.

    Returns ``model``'s parts that ran, by path, in the order they started; the output; the node of the image.
    """
    runs: dict[str, Run] = {}
    images: list[torch.Tensor] = []

    def start(path: str) -> Any:
        def hook(_: nn.Module, __: Any) -> None:
            runs.setdefault(path, Run())

        return hook

    def end(path: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if runs[path].output is None:  # the node of now: an activation in place would put its own there
                runs[path] = Run(output, getattr(output, "grad_fn", None))

        return hook

    def seen(_: nn.Module, given: Any) -> Any:
        images.append(given[0].requires_grad_())
        return (given[0].clone(),)  # the network may write over its input

    hooks = [module.register_forward_pre_hook(seen)]
    for path, part in model.named_modules():
        hooks += [part.register_forward_pre_hook(start(path)), part.register_forward_hook(end(path))] if path else []
    try:
        output = probe(module, image_size, graph=True)
    finally:
        for hook in hooks:
            hook.remove()
    return runs, output, torch.autograd.graph.get_gradient_edge(images[0]).node


def main_path(output: Any, image: Any) -> set[Any]:
    """Collect the nodes that every way from the image to the output leads through.

    A node is one exactly if the ways through it are all ways there are. They are counted, in integers without bound:
    a hundred residual blocks have 2^100. An output of several tensors has the ways to all of them.
    """
    ends = [tensor.grad_fn for tensor in tensors_in(output) if tensor.grad_fn is not None]
    order: list[Any] = []  # every node behind those it is computed from
    waiting: list[tuple[Any, bool]] = [(node, False) for node in ends]
    seen: set[Any] = set()
    while waiting:
        node, done = waiting.pop()
        if done:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            waiting.append((node, True))
            waiting.extend((before, False) for before, _ in node.next_functions)
    up = dict.fromkeys(order, 0)  # ways from the image
    for node in order:
        up[node] = 1 if node == image else sum(up[before] for before, _ in node.next_functions if before is not None)
    down = dict.fromkeys(order, 0)  # ways to the output
    for node in ends:
        down[node] += 1
    for node in reversed(order):
        for before, _ in node.next_functions:
            if before is not None:
                down[before] += down[node]
    total = sum(up[node] for node in ends)
    return {node for node in order if total and up[node] * down[node] == total}


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that a network returned, alone or in lists, tuples and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors_in(inner)
