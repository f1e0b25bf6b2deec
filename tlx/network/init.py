"""Init: where the trunk's weights come from, and the proof that they arrived."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tlx.config.groups import CustomBackbone, PretrainedInit, TimmBackbone
from tlx.errors import InputError, TlxError
from tlx.hub import HUB_TIMEOUT_S, out_of_reach
from tlx.network.likeness import alike, prefixed, some
from tlx.storage import read_json, read_tensors

PACKAGE_WEIGHTS = "embedded.safetensors"
OF_A_RUN = "trunk.model."  # what stands before the names of a run's trunk


class LackingError(InputError):
    """Weights that end inside what the cut keeps."""


def load_pretrained(model: nn.Module, backbone: TimmBackbone | CustomBackbone, init: PretrainedInit) -> Path:
    """Load pretrained weights into a cut ``model`` in place, and return the file they came from.

    Only what the cut kept must be in the file; what the file holds beyond that is ignored.

    Raises:
        InputError: No file, no hub, a file that is damaged, of another architecture, or that lacks kept weights.
    """
    source, found = _read(model, backbone, init)
    assign(model, found, str(source) if init.run is None else f"init.run={init.run} ({_of_run(source.parent)})")
    return source


def lacking(model: nn.Module, backbone: TimmBackbone | CustomBackbone, init: PretrainedInit) -> list[str]:
    """Name the tensors of a whole ``model`` that its weights file does not hold, or holds in another shape."""
    _, found = _read(model, backbone, init)
    wanted = model.state_dict()
    missing = _unfit(wanted, found)
    return missing and min(missing, _unfit(wanted, _adapted(model, found)), key=len)


def _read(
    model: nn.Module, backbone: TimmBackbone | CustomBackbone, init: PretrainedInit
) -> tuple[Path, dict[str, torch.Tensor]]:
    source = locate(model, backbone, init)
    found = read_tensors(source)
    if init.run is not None:
        found = {n.removeprefix(OF_A_RUN): tensor for n, tensor in found.items() if n.startswith(OF_A_RUN)}
    return source, found


def locate(model: nn.Module, backbone: TimmBackbone | CustomBackbone, init: PretrainedInit) -> Path:
    """Find the weights file: ``init.run``, ``init.file``, else the package, the hub's cache, a download."""
    if init.run is not None:
        source = Path(init.run).expanduser() / "model" / "weights.safetensors"
        if not source.is_file():
            raise InputError(f"init.run={init.run} holds no trained model", "give the folder of a finished run")
        return source
    if init.file is not None:
        return Path(init.file)
    if backbone.weights == "package":
        return Path(str(files("tlx") / "assets" / PACKAGE_WEIGHTS))
    settings: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    repository = settings.get("hf_hub_id") if backbone.weights == "hub" else None
    if not repository:
        where = "no weights" if isinstance(backbone, CustomBackbone) else "no hub weights"
        mend = "give init=scratch (random ones), init.file=PATH or init.run=FOLDER"
        raise InputError(f"{where} are known for {backbone.name}", mend)
    return _from_hub(repository, settings.get("hf_hub_filename"), init.cache)


def _of_run(model: Path) -> str:
    """Say which backbone a run's ``model`` folder holds, and where it was cut."""
    try:
        plain: Any = read_json(model / "network.json")
        cut, name = plain["cut"], plain["backbone"].get("name", "a network of your own")
        place = "the classifier gone" if cut["kind"] == "head" else f"cut behind {cut['name']}"
    except (KeyError, TypeError, AttributeError, InputError):
        return "a run whose network.json is damaged"
    return f"{name}, {place}"


def _from_hub(repository: str, filename: str | None, cache: str | None) -> Path:
    from huggingface_hub import try_to_load_from_cache

    names = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        cached = try_to_load_from_cache(repository, name, cache_dir=cache)
        if isinstance(cached, str):
            return Path(cached)
    return _download(repository, names, cache)


def _download(repository: str, names: list[str], cache: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if reason := out_of_reach():
        raise _out_of_reach(repository, reason)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, cache_dir=cache, etag_timeout=HUB_TIMEOUT_S))
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):  # no answer, which is another thing than a no
                raise _out_of_reach(repository, str(error).splitlines()[0]) from None
        except TlxError:
            raise  # a signal
        except Exception as error:
            raise _out_of_reach(repository, (str(error) or type(error).__name__).splitlines()[0]) from None
    raise InputError(f"the hub holds no {' or '.join(names)} for {repository}", "give init.file=PATH or init=scratch")


def _out_of_reach(repository: str, reason: str) -> InputError:
    return InputError(
        f"the weights {repository} are not in the cache and the hub is out of reach ({reason})",
        "give a file (init.file=PATH), a cache folder (init.cache=PATH), backbone=embedded, or init=scratch",
    )


def assign(model: nn.Module, found: Mapping[str, torch.Tensor], source: str) -> None:
    """Copy the tensors that ``model`` needs; every one must be there, in its shape.

    Raises:
        LackingError: Names what is missing or misshapen.
        InputError: They are of another architecture.
    """
    wanted = model.state_dict()
    if _unfit(wanted, found):
        found = _adapted(model, found)
    if unfit := _unfit(wanted, found):
        mine, theirs = _weights(wanted), _weights(found)
        fitting = sum(n in found and n not in unfit for n in mine)
        if fitting < 0.5 * min(len(mine), len(theirs)):  # of a trunk cut early, all that there is fits
            share = f"{fitting} of {len(mine)} kept tensors match ({100 * fitting / max(1, len(mine)):.0f} %)"
            raise InputError(
                f"{source} is of another architecture: {share}; {alike(theirs)}, wanted {some(mine)}",
                prefixed(mine, theirs) or "choose the backbone that they belong to",
            )
        if channels := _channels(wanted, found, unfit):
            raise InputError(
                f"{source} is for images of {channels}, and they are read as RGB", "give weights for three"
            )
        told = [f"{n} ({_form(found[n])}, wanted {_form(wanted[n])})" if n in found else n for n in unfit]
        resized = " at the size that it was made for (data.image_size=null)" if any(n in found for n in unfit) else ""
        raise LackingError(
            f"{source} lacks weights inside what the cut keeps: {some(told)}",
            f"cut earlier (cut=layer cut.name=..., see inspect), or give a complete file{resized}",
        )
    if spoiled := [n for n in wanted if n in found and not bool(found[n].isfinite().all())]:
        raise InputError(f"{source} holds weights that are not finite: {some(spoiled)}", "give another file")
    model.load_state_dict({name: found.get(name, tensor) for name, tensor in wanted.items()})


def _unfit(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """List what is missing or misshapen; the batch counter of a BatchNorm influences nothing and may be absent."""
    return [
        name
        for name, tensor in wanted.items()
        if not name.endswith("num_batches_tracked") and (name not in found or found[name].shape != tensor.shape)
    ]


def _adapted(model: nn.Module, found: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Let timm's own filter rename keys and resize position embeddings, where the architecture has one."""
    adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return found
    kept = model.state_dict()
    for part in (found, {name: tensor for name, tensor in found.items() if name in kept}):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about how timm interpolates: nothing that its caller could mend
                return dict(adapt(dict(part), model))
        except Exception:  # a filter meets what the cut took away, or a file that it was not written for
            continue
    return found  # the comparison names what does not fit


def _weights(names: Mapping[str, Any]) -> list[str]:
    """List what has to fit: all but the batch counters of BatchNorms."""
    return [name for name in names if not name.endswith("num_batches_tracked")]


def _channels(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], unfit: list[str]) -> str:
    """Say for how many channels weights are, where that is all that does not fit of some: nothing elsewhere."""
    for name in unfit:
        mine, theirs = wanted[name].shape, found[name].shape if name in found else ()
        if (
            len(mine) == len(theirs) == 4
            and mine[1] == 3 != theirs[1]
            and (mine[0], *mine[2:]) == (theirs[0], *theirs[2:])
        ):
            return f"{theirs[1]} {'channel' if theirs[1] == 1 else 'channels'} ({name})"
    return ""


def _form(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
