"""Model folder: a network on disk, described in plain data without its code, and built again from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from tlx.config.check import check
from tlx.config.groups import AllCut, CustomBackbone, HeadCut, LayerCut, StageCut, TimmBackbone, TrunkFreeze
from tlx.errors import InputError
from tlx.network.backbone import create, must_prepare
from tlx.network.custom import named_by_user
from tlx.network.head import HEADS, Head, HeadConfig
from tlx.network.network import Network, cut_trunk
from tlx.preprocessing import Preprocessing
from tlx.secrecy import hidden, without_hidden
from tlx.storage import make_folder, read_json, read_tensors, write_json, write_tensors

FORMAT = 3  # 1: without head.pool; 2: without temperature


class Model(NamedTuple):
    """A trained network, and what is needed to use it.

    ``temperature`` divides its logits (Guo et al., 2017): the probabilities are ``softmax(logits / temperature)``.
    """

    network: Network
    preprocessing: Preprocessing
    classes: list[str]
    temperature: float = 1.0


def save(
    folder: Path,
    network: Network,
    backbone: TimmBackbone | CustomBackbone,
    head: HeadConfig,
    seen: Preprocessing,
    classes: list[str],
    temperature: float = 1.0,
) -> None:
    """Write ``folder/network.json`` and ``folder/weights.safetensors``: all that rebuilds the network, no code.

    Of a backbone of the user's own only that it is one: its name would be an invitation to run it.
    """
    make_folder(folder)
    write_tensors(folder / "weights.safetensors", network.state_dict())
    point = network.trunk.point
    description = {
        "format": FORMAT,
        "backbone": (
            {"kind": backbone.kind}
            if isinstance(backbone, CustomBackbone)
            else {"name": backbone.name, "kwargs": hidden(dict(backbone.kwargs or {}))}
        ),
        "cut": {"kind": point.kind, "name": point.name, "stage": point.stage},
        "head": {**asdict(head), "pool": network.head.pool.kind},
        "preprocessing": asdict(seen),
        "classes": classes,
        "temperature": temperature,
    }
    write_json(folder / "network.json", description)


def load(folder: Path, own: TimmBackbone | CustomBackbone | None = None) -> Model:
    """Build a saved network again, all of it frozen but its head, in eval mode.

    What is saved of a backbone of the user's own names no code: ``own`` does.

    Raises:
        InputError: A file that is missing, damaged, or does not fit.
    """
    try:
        return _loaded(folder, read_json(folder / "network.json"), own)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError, IndexError, OverflowError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        mend = "restore its files or train again"
        if isinstance(own, CustomBackbone):
            mend = f"{mend}; or name the backbone.target and backbone.kwargs that it was trained with"
        raise InputError(f"the model in {folder} is damaged ({reason})", mend) from None


def _loaded(folder: Path, plain: Any, own: TimmBackbone | CustomBackbone | None) -> Model:
    if plain["format"] > FORMAT:
        raise InputError(f"{folder} was written by a newer tlx (format {plain['format']})", "upgrade tlx")
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["preprocessing"].items()}
    seen = Preprocessing(**settings)
    must_prepare(seen)
    if not plain["classes"] or not all(isinstance(name, str) for name in plain["classes"]):
        raise ValueError("classes without names")
    if not 0 < float(plain.get("temperature", 1.0)) < float("inf"):
        raise ValueError(f"a temperature of {plain['temperature']}")
    if plain["backbone"].get("kind") == CustomBackbone.kind:
        backbone: TimmBackbone | CustomBackbone = named_by_user(own, folder)
    else:
        backbone = check(without_hidden({"kind": "timm", **plain["backbone"]}), TimmBackbone, "backbone")
    model = create(backbone, seen.image_size).model
    at = plain["cut"]
    cuts: Mapping[str, Any] = {
        "head": HeadCut(),
        "stage": StageCut(stage=at["stage"]),
        "layer": LayerCut(name=at["name"]),
        "all": AllCut(until=at["name"] if at["stage"] is None else at["stage"]),
    }
    saved = {"pool": "avg" if at["kind"] == "layer" else "auto", **plain["head"]}  # format 1 knew no class token
    config = check(saved, HEADS[saved["kind"]], "head")
    trunk, pool = cut_trunk(config.pool, model, cuts[at["kind"]], seen.image_size)
    head = Head(replace(config, pool=pool), trunk.layout, trunk.prefix, trunk.width, len(plain["classes"]), seed=0)
    network = Network(trunk, head, TrunkFreeze())
    network.load_state_dict(read_tensors(folder / "weights.safetensors"))
    return Model(network.eval(), seen, list(plain["classes"]), float(plain.get("temperature", 1.0)))
