"""Drop path: stochastic depth (Huang et al., 2016), and whether a trunk has any."""

from __future__ import annotations

from tlx.errors import InputError
from tlx.network.cut import Trunk, probe
from tlx.network.depths import Depths


def must_drop(trunk: Trunk | Depths, name: str) -> None:
    """Check that a forward pass of the trunk runs a block that is left out at times.

    A block without a shortcut has its drop path as well and never runs it: a pass tells, a list of modules does not.

    Raises:
        InputError: None does.
    """
    ran: list[float] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: ran.append(module.drop_prob))
        for module in trunk.modules()
        if getattr(module, "drop_prob", 0)
    ]
    try:
        probe(trunk, trunk.image_size)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        what = f"regularizer.drop_path: no block of {name} that the cut keeps is ever left out"
        raise InputError(what, "set regularizer.drop_path=0")
