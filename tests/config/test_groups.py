"""Every key of every yaml of every group stands in one dataclass of that group, and every field in the yaml."""

from __future__ import annotations

import dataclasses
import shutil
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tlx.__main__ import conf_folder
from tlx.config.check import check, members
from tlx.config.fields import REQUIRED
from tlx.config.roots import ROOTS
from tlx.door.arguments import groups_of
from tlx.errors import InputError

CONF = conf_folder()
GROUPS = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name not in ("hydra", "case"))
CASES = sorted(p.stem for p in (CONF / "case").glob("*.yaml"))


def options(group: str, conf: Path = CONF) -> list[str]:
    return sorted(p.stem for p in (conf / group).glob("*.yaml"))


@cache
def composed(verb: str, *overrides: str, conf: Path = CONF) -> dict[str, Any]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        plain: Any = OmegaConf.to_container(compose(verb, list(overrides)))
    return plain


def rounds(groups: list[str], conf: Path = CONF) -> list[list[str]]:
    """Few lists of overrides in which every option of every group occurs."""
    count = max(len(options(group, conf)) for group in groups)
    return [[f"{g}={options(g, conf)[k % len(options(g, conf))]}" for g in groups] for k in range(count)]


def misfits(plain: Mapping[str, Any], cls: type, where: str = "") -> Iterator[str]:
    """Yield every key that no field binds, every field that no key sets, and every kind that no class has."""
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)} - {"case"}  # the door sets it
    yield from (f"{where}{key}: no field" for key in sorted(set(plain) - names))
    yield from (f"{where}{name}: not in the yaml" for name in sorted(names - set(plain)))
    for name in names & set(plain):
        kinds = members(hints[name])
        value = plain[name]
        if not kinds or (value is None and type(None) in typing.get_args(hints[name])):
            continue
        fitting = [k for k in kinds if getattr(k, "kind", None) == value.get("kind")]
        if len(fitting) != 1:
            yield f"{where}{name}: kind {value.get('kind')} fits {len(fitting)} classes"
        else:
            yield from misfits(value, fitting[0], f"{where}{name}.")


REQUIRED_WORDS = {"export": ["format=onnx"], "report": ["runs=[x]"]}  # which nothing else can stand for


def filled(value: Any) -> Any:
    """Give every required value something."""
    if isinstance(value, Mapping):
        return {key: filled(inner) for key, inner in value.items()}
    return "1" if value == REQUIRED else value


@pytest.mark.parametrize("verb", ROOTS)
def test_every_key_binds_and_every_field_is_there(verb: str) -> None:
    groups = [g for g in groups_of(verb) if (CONF / g).is_dir() and g != "case"]
    for overrides in rounds(groups) if groups else [[]]:
        plain = composed(verb, *overrides, *REQUIRED_WORDS.get(verb, ()))
        assert list(misfits(plain, ROOTS[verb])) == [], overrides
        assert isinstance(check(filled(plain), ROOTS[verb]), ROOTS[verb])


@pytest.mark.parametrize("verb", ["train", "inspect", "pretrain"])
@pytest.mark.parametrize("case", CASES)
def test_every_case_composes_under_every_verb_that_takes_it(verb: str, case: str) -> None:
    plain = composed(verb, f"case={case}")
    assert list(misfits(plain, ROOTS[verb])) == []
    check(filled(plain), ROOTS[verb])


def test_the_binding_check_can_fail(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    sgd = (CONF / "optimizer" / "sgd.yaml").read_text()
    (conf / "optimizer" / "extra.yaml").write_text(sgd + "warp: 9\n")
    (conf / "optimizer" / "lacking.yaml").write_text(sgd.replace("momentum: 0.9\n", ""))
    (conf / "optimizer" / "foreign.yaml").write_text(sgd.replace("kind: sgd", "kind: sdg"))
    (conf / "callbacks" / "deep.yaml").write_text("defaults: [standard, _self_]\ncheckpoint: {moniter: loss}\n")

    def found(override: str) -> list[str]:
        return list(misfits(composed("train", override, conf=conf), ROOTS["train"]))

    assert found("optimizer=sgd") == []
    assert found("optimizer=extra") == ["optimizer.warp: no field"]
    assert found("optimizer=lacking") == ["optimizer.momentum: not in the yaml"]
    assert found("optimizer=foreign") == ["optimizer: kind sdg fits 0 classes"]
    assert found("callbacks=deep") == ["callbacks.checkpoint.moniter: no field"]
    with pytest.raises(InputError, match=r"callbacks\.checkpoint\.moniter.*did you mean 'monitor'"):
        check(composed("train", "callbacks=deep", conf=conf), ROOTS["train"])


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_kinds_are_unique_in_a_group_and_each_has_an_option(root: type) -> None:
    offered = [composed("train", *overrides) for overrides in rounds(GROUPS)]
    for name, hint in typing.get_type_hints(root).items():
        kinds = [getattr(k, "kind", None) for k in members(hint)]
        assert len(kinds) == len(set(kinds)), name
        if kinds and None not in kinds and name in GROUPS:
            assert {plain[name]["kind"] for plain in offered} == set(kinds), name


def test_every_folder_is_a_group_and_every_root_a_verb() -> None:
    known = {name for root in ROOTS.values() for name, hint in typing.get_type_hints(root).items() if members(hint)}
    assert set(GROUPS) <= known
    assert {p.stem for p in CONF.glob("*.yaml")} == {*ROOTS, "own_images"}  # what several options share


def set_by(case: Path) -> list[tuple[str, str]]:
    """List the (group, key) that a case file sets itself."""
    plain = yaml.safe_load(case.read_text())
    return [(g, key) for g, values in plain.items() if g != "defaults" for key in values]


def left_behind(case: Path) -> list[str]:
    """List what a case sets that some option of the group does not have, and that a change of option would leave."""
    hints = typing.get_type_hints(ROOTS["train"])
    return [
        f"{group}.{key}"
        for group, key in set_by(case)
        if not all(key in {f.name for f in dataclasses.fields(k)} for k in members(hints[group]))
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_case_selects_and_leaves_nothing_behind(case: str) -> None:
    assert left_behind(CONF / "case" / f"{case}.yaml") == []
    own = set_by(CONF / "case" / f"{case}.yaml")
    groups = ["init", "cut", "freeze", "features", "augment", "optimizer"]
    for overrides in rounds(groups):
        plain, bare = composed("train", f"case={case}", *overrides), composed("train", *overrides)
        for group in groups:
            kept = {key: value for key, value in plain[group].items() if (group, key) not in own}
            assert kept == {key: value for key, value in bare[group].items() if (group, key) not in own}


def test_the_check_of_what_a_case_leaves_can_fail(tmp_path: Path) -> None:
    case = tmp_path / "case.yaml"
    case.write_text("defaults:\n  - override /optimizer: sgd\noptimizer:\n  momentum: 0.5\n  lr: 0.1\n")
    assert left_behind(case) == ["optimizer.momentum"]


def test_the_command_line_beats_the_case() -> None:
    plain = composed("train", "case=small_similar", "trainer.max_epochs=2", "freeze=none", "data=patches", "seed=7")
    assert plain["trainer"]["max_epochs"] == 2
    assert plain["freeze"] == {"kind": "none", "batch_statistics": "moving"}
    assert plain["data"]["kind"] == "patches"
    assert plain["seed"] == 7
    assert (
        composed("train", "case=small_similar")["trainer"]["max_epochs"] != composed("train")["trainer"]["max_epochs"]
    )


@pytest.mark.parametrize(
    ("case", "init", "cut", "freeze"),
    [
        ("small_similar", "pretrained", "head", "trunk"),
        ("small_different", "pretrained", "early", "trunk"),
        ("large_similar", "pretrained", "head", "none"),
        ("large_different", "scratch", "head", "none"),
    ],
)
def test_the_four_cases_are_the_four_surgeries(case: str, init: str, cut: str, freeze: str) -> None:
    plain = composed("train", f"case={case}")
    assert [plain[group]["kind"] for group in ("init", "cut", "freeze", "head")] == [init, cut, freeze, "linear"]


@pytest.mark.parametrize("case", CASES)
def test_a_case_file_opens_with_its_command(case: str) -> None:
    lines = (CONF / "case" / f"{case}.yaml").read_text().splitlines()
    assert lines[:2] == ["# @package _global_", f"# python -m tlx case={case}"]
