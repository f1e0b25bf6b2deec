"""From Hydra's exceptions to one line that names the word, the nearest right one, and the list."""

from __future__ import annotations

import dataclasses
import re
import typing

from tlx.config.check import members
from tlx.config.roots import ROOTS
from tlx.door.arguments import groups_of
from tlx.errors import InputError, MachineError, TlxError, nearest


def explain(error: BaseException, verb: str) -> TlxError:
    """Say what is wrong with the command line or the config files."""
    if isinstance(error, TlxError):
        return error
    options = getattr(error, "options", None)
    missing = getattr(error, "missing_cfg_file", None)
    if missing and options is not None:
        group, _, option = str(missing).rpartition("/")
        known = [name for name in options if not name.startswith("_")]
        return InputError(f"unknown option {group}={option}", nearest(option, known))
    if isinstance(error, OSError):
        return MachineError(f"{error.strerror}: {error.filename}", "choose another folder: hydra.run.dir=PATH")
    if mark := getattr(error, "problem_mark", None):
        where = f"{mark.name}, line {mark.line + 1}"
        return InputError(f"{where} is no YAML: {getattr(error, 'problem', '')}", "mend the file")
    if isinstance(error, RecursionError):
        return InputError("the config is nested too deeply", "make it flatter; nothing of it needs ten levels")
    text = str(error)
    if found := re.search(r"Could not delete.*?'([^'=]+)", text):
        if found[1] in groups_of(verb):
            return InputError(text.splitlines()[0].rstrip("."), f"choose another option: {found[1]}=...")
        return _unknown(found[1], verb)
    if text.startswith("Ambiguous value"):
        return InputError(text.splitlines()[0], "sweep over the values with -m, or quote a text: KEY='\"a, b\"'")
    if found := re.search(r"Could not override '([^']*)'", text):
        return _unknown(found[1], verb)
    if override := getattr(error, "override", None):
        return InputError(f"cannot read the override {override!r}", "write KEY=VALUE; quote values: KEY='\"a, b\"'")
    if text.startswith("Could not append to config"):
        return InputError(text.splitlines()[0].rstrip("."), "it is there already: leave out the +")
    if found := re.search(r"full_key: (\S+)", text):
        if absent := re.search(r"Environment variable '([^']*)' not found", text):
            mend = f"set it, or say what stands in for it: ${{oc.env:{absent[1]},VALUE}}"
            return InputError(f"{found[1]}: there is no environment variable {absent[1]}", mend)
        if "nterpolation" in text:
            mend = "${KEY} takes another key in full, such as ${trainer.max_epochs}, and ${oc.env:NAME} the environment"
            return InputError(f"{found[1]}: {text.splitlines()[0].rstrip('.')}", mend)
        return InputError(f"{found[1]}: {text.splitlines()[0]}", "see python -m tlx --help")
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return InputError(first.strip().rstrip("."), "see python -m tlx --help")


def _unknown(key: str, verb: str) -> InputError:
    groups = groups_of(verb)
    root = ROOTS[verb]
    top = [f.name for f in dataclasses.fields(root)]
    group, _, rest = key.partition(".")
    if not rest or group not in top:
        if inside := _inside(root, key):
            return InputError(f"unknown key or group {key!r}", f"did you mean {' or '.join(map(repr, inside))}?")
        others = [other for other, its in ROOTS.items() if key in {f.name for f in dataclasses.fields(its)}]
        mend = nearest(group, dict.fromkeys([*groups, *top]))
        return InputError(
            f"unknown key or group {key!r}", f"{verb} has none, {', '.join(others)} has; {mend}" if others else mend
        )
    kinds = members(typing.get_type_hints(root)[group])
    owners = [str(getattr(kind, "kind", "")) for kind in kinds if _has(kind, rest)]
    if owners:
        return InputError(f"the chosen option of {group} has no {rest!r}", f"{group}={' or '.join(owners)} has")
    name, _, deeper = rest.partition(".")
    parts = [part for kind in kinds for part in members(typing.get_type_hints(kind).get(name))]
    wrong, kinds = (deeper, tuple(parts)) if deeper and parts else (rest, kinds)
    known = dict.fromkeys(f.name for kind in kinds for f in dataclasses.fields(kind) if f.name != "kind")
    return InputError(f"unknown key {key!r}", nearest(wrong, known, key.removesuffix(wrong)))


def _inside(root: type, key: str) -> list[str]:
    """Find a key in the groups, where somebody has left out which: ``lr`` in ``optimizer.lr``."""
    hints = typing.get_type_hints(root)
    groups = [f.name for f in dataclasses.fields(root) if any(_has(kind, key) for kind in members(hints[f.name]))]
    return [f"{group}.{key}" for group in groups]


def _has(kind: type, key: str) -> bool:
    """Whether a dataclass has a key, ``epochs`` or ``finetune.epochs``."""
    name, _, deeper = key.partition(".")
    if name not in {f.name for f in dataclasses.fields(kind)}:
        return False
    return not deeper or any(_has(part, deeper) for part in members(typing.get_type_hints(kind)[name]))
