"""Space: whether what a training will write has room on the disk, asked before it trains."""

from __future__ import annotations

import shutil

from tlx.config.groups import SGD
from tlx.config.roots import TrainConfig
from tlx.errors import MachineError
from tlx.learner.plan import Phase, plan
from tlx.network.network import Network
from tlx.results.console import size
from tlx.results.run_folder import RunFolder, shown
from tlx.training.work import on_features, solvable

STATES = 3  # of a phase: the last, the one before it, and for a moment the one that is being written
BESIDES = 20 * 2**20  # bytes: the log, the page, its pictures, predictions


def must_have_room(folder: RunFolder, config: TrainConfig, network: Network) -> None:
    """Make sure that a run's states, weights and pages fit where they go.

    Raises:
        MachineError: They do not.
    """
    needed, free = estimate(config, network), shutil.disk_usage(folder.path).free
    if needed > free:
        what = f"this run writes up to {size(needed)}, and {shown(folder.path)} has room for {size(free)}"
        raise MachineError(what, "free some space, or choose another folder: hydra.run.dir=PATH")


def estimate(config: TrainConfig, network: Network) -> int:
    """Return how many bytes a run may write into its folder: states of every phase that has epochs, and weights."""
    weights = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    arms = 2 if config.init.kind == "race" else 1
    by_epochs = [phase for phase in plan(config) if not solvable(config, network, phase)]
    phases = sum(STATES * _state(config, network, phase, weights) + weights for phase in by_epochs)
    return arms * phases + weights + BESIDES


def _state(config: TrainConfig, network: Network, phase: Phase, weights: int) -> int:
    """Return the bytes of a state: weights, an average of them, and what the optimizer keeps of what trains."""
    trained = network.trained_in(phase.epochs - 1, phase.index)
    sizes = {name: p.numel() * p.element_size() for name, p in network.named_parameters()}
    alone = on_features(config, network, phase)  # the head's states hold no trunk
    whole = sum(sizes[name] for name in sizes if name.startswith("head.")) if alone else weights
    kept = (1 if isinstance(phase.optimizer, SGD) else 2) * sum(sizes[name] for name in trained)
    average = whole if config.regularizer.ema else 0
    return whole + average + kept
