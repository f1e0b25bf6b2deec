"""What stands on the command line, made ready for Hydra: the verb taken off, paths quoted, mistakes named."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

from tlx.config.check import members, open_keys, path_keys, several_keys
from tlx.config.roots import ROOTS, TrainConfig
from tlx.errors import InputError, nearest

VERBS = tuple(ROOTS)
PLAIN = re.compile(r"[\w./@%+-]*/[\w./@%+-]*", re.ASCII)  # paths that Hydra's grammar takes as they are
NO_TEXT = re.compile(r"null|true|false|nan|[+-]?(inf|[\d.]).*", re.IGNORECASE)  # what it may take for something else
SWEEP = re.compile(r",|^(choice|range|interval|glob|sort|shuffle)$")  # what is left of a sweep without its brackets
LISTED = re.compile(r"""'[^']*'|"[^"]*"|[^,]+""")  # the elements of a list
OWN = ("backbone.target", "backbone.kwargs")  # whose code a run's network is, which no run folder says
EXTENDABLE = ("run", "trainer.max_epochs", "freeze.finetune.epochs", *OWN)  # what `resume` takes


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """Take the verb off: the first word that is one, else ``train``.

    Raises:
        InputError: A first word that is neither a verb nor an override nor a flag.
    """
    if not words:
        return "train", []
    if words[0] in VERBS:
        return words[0], words[1:]
    if "=" not in words[0] and not words[0].startswith(("-", "~", "+")):
        from tlx.__main__ import conf_folder

        case = words[0] in (file.stem for file in (conf_folder() / "case").glob("*.yaml"))
        mend = f"write case={words[0]}" if case else f"{nearest(words[0], VERBS)}; see python -m tlx --help"
        raise InputError(f"unknown verb {words[0]!r}", mend)
    return "train", words


def prepare(verb: str, words: list[str]) -> list[str]:
    """Quote paths, expand ``~``, and refuse what Hydra would misread.

    Raises:
        InputError: A list for a single-choice group, a bare word, an override that ``resume`` cannot take.
    """
    paths = {*path_keys(ROOTS[verb]), "hydra.run.dir", "hydra.sweep.dir"}
    several = tuple(several_keys(ROOTS[verb]))
    free = tuple(open_keys(ROOTS[verb]))
    groups = groups_of(verb)
    sweeping = any(word in ("-m", "--multirun") for word in words)
    flags_with_value = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c", "--info",
                        "-i", "--package", "-p", "--shell-completion"}  # fmt: skip
    flags: list[str] = []
    ready: list[str] = []
    previous = ""
    for word in words:
        value_of_flag, previous = previous in flags_with_value, word
        key, equals, value = word.partition("=")
        if word.startswith("-") or value_of_flag:
            flags.append(word)
            continue
        if not equals:
            if not word.startswith(("~", "+")):
                raise InputError(f"{word!r} is no override", f"write KEY=VALUE, or a verb first: {', '.join(VERBS)}")
            ready.append(word)
            continue
        name = key.lstrip("+~")
        if not key.isprintable():
            raise InputError(f"{word!r} is no override", "write KEY=VALUE")
        if name in groups and value.startswith("["):
            raise InputError(f"{word} gives several options to the group {name}", f"give one, or sweep: -m {name}=a,b")
        if not name or name.startswith("@"):
            raise InputError(f"{word!r} is no override", "write KEY=VALUE")
        if name in groups and NO_TEXT.fullmatch(value):
            value = f"'{value}'"  # Hydra then says which options there are
        if key.startswith(free):  # such as backbone.kwargs: any key may be new
            key = f"++{key}"
        if verb == "resume" and not name.startswith((*OWN, "hydra")) and name not in EXTENDABLE:
            what = f"{name} cannot be changed when a run goes on"
            raise InputError(what, f"start a new run, or extend this one: {EXTENDABLE[1]}=N or {EXTENDABLE[2]}=N")
        if name in several:
            value = f"[{','.join(_quoted(part, False) for part in _parts(value))}]"
        elif name in paths:
            value = _quoted(value, sweeping)
        ready.append(f"{key}={value}")
    if sweeping:
        ready = _for_each_job(ready, groups)
    return flags + ready  # its parser loses overrides that stand behind a flag


def _for_each_job(words: list[str], groups: list[str]) -> list[str]:
    """Let values of a swept group be set job by job.

    Hydra applies what is no sweep to the default option first, which need not have that key: it is made a sweep of one.
    """
    swept = {group for group in groups for word in words if word.startswith(f"{group}=") and "," in word}
    if "case" in swept:  # a case chooses options of every group
        swept = set(groups)
    ready = []
    for word in words:
        key, _, value = word.partition("=")
        single = value and not SWEEP.search(re.sub(r"[\[{(].*[\])}]|'[^']*'|\"[^\"]*\"", "", value))
        alone = "." in key and key.partition(".")[0] in swept and single and not value.startswith("choice(")
        ready.append(f"{key}=choice({value})" if alone else word)
    return ready


def groups_of(verb: str) -> list[str]:
    """List the config groups of a verb."""
    root = ROOTS[verb]
    hints = typing.get_type_hints(root)
    groups = [f.name for f in dataclasses.fields(root) if any(hasattr(kind, "kind") for kind in members(hints[f.name]))]
    return [*groups, "case"] if issubclass(root, TrainConfig) else groups


def _parts(value: str) -> list[str]:
    """Take a list of paths apart, ``[a,b]`` or a single one; one that holds a comma stands in quotes."""
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    return [part.strip() for part in LISTED.findall(inner)]


def _quoted(value: str, sweeping: bool) -> str:
    quoted = value[:1] in ("'", '"') and (sweeping or (len(value) > 1 and value[0] == value[-1]))
    if quoted or "${" in value or value in ("", "null", "???"):
        return value
    if sweeping and "," in value:
        return ",".join(_quoted(part, False) for part in value.split(","))
    try:
        expanded = str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:
        raise InputError(f"{value}: there is no such user", f"write ./{value} for a folder of that name") from None
    if PLAIN.fullmatch(expanded):
        return expanded
    # Hydra's grammar takes a backslash for itself, but for those before a quote and at the end.
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), expanded) + "'"


def spoken(word: str) -> str:
    """Return an override as a person says it: without the quotes that a path needs for Hydra, where they come again."""
    key, _, value = word.partition("=")
    said = value[1:-1]
    return f"{key}={said}" if key in path_keys(TrainConfig) and value == f"'{said}'" == _quoted(said, False) else word
