"""What stands on the command line, made ready for Hydra."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tlx.door.arguments import VERBS, groups_of, prepare, split_verb
from tlx.errors import InputError


def heard(word: str) -> object:
    """What Hydra makes of a word."""
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize(
    ("words", "verb", "rest"),
    [
        ([], "train", []),
        (["case=x"], "train", ["case=x"]),
        (["-m", "case=x,y"], "train", ["-m", "case=x,y"]),
        (["~optimizer"], "train", ["~optimizer"]),
        (["+x=1"], "train", ["+x=1"]),
        *(([verb, "a=1"], verb, ["a=1"]) for verb in VERBS),
    ],
)
def test_the_verb_is_the_first_word_or_train(words: list[str], verb: str, rest: list[str]) -> None:
    assert split_verb(words) == (verb, rest)


@pytest.mark.parametrize(("word", "hint"), [("trian", "'train'"), ("insp", "'inspect'"), ("evalute", "'evaluate'")])
def test_an_unknown_verb_is_named_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"unknown verb '{word}'; did you mean {hint}.*one of: train, advise"):
        split_verb([word])


def test_a_case_without_its_key_is_understood() -> None:
    with pytest.raises(InputError, match="unknown verb 'small_similar'; write case=small_similar"):
        split_verb(["small_similar"])


def test_groups() -> None:
    assert {"backbone", "case", "optimizer"} <= set(groups_of("train"))
    assert "case" not in groups_of("evaluate")
    assert set(groups_of("evaluate")) == {"trainer", "data"}
    assert groups_of("resume") == []


@pytest.mark.parametrize("word", ["case=[small_similar,large_similar]", "optimizer=[sgd]", "+optimizer=[sgd,adamw]"])
def test_several_options_of_a_group_are_refused(word: str) -> None:
    """Hydra merges them silently, and the last one wins."""
    with pytest.raises(InputError, match=r"several options to the group .*-m"):
        prepare("train", [word])
    assert prepare("train", ["optimizer.betas=[0.8,0.9]"]) == ["optimizer.betas=[0.8,0.9]"]


@pytest.mark.parametrize("word", ["small_similar", "", " ", "inspect", "/some/path", "=3", "@x=3"])
def test_a_word_that_is_no_override_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="is no override"):
        prepare("train", ["case=small_similar", word])


def test_flags_keep_their_values() -> None:
    words = ["--config-dir", "/my conf", "-cd", "x", "--cfg", "job", "-p", "trainer", "--config-dir=/y=z", "-m"]
    assert prepare("train", words) == words


@pytest.mark.parametrize("word", ["optimizer.lr=1", "optimizer=sgd", "seed=3", "trainer.devices=2", "case=x"])
def test_resume_takes_only_what_extends(word: str) -> None:
    with pytest.raises(InputError, match=r"cannot be changed when a run goes on.*max_epochs=N"):
        prepare("resume", ["run=x/y", word])
    assert prepare("resume", ["run=x/y", "trainer.max_epochs=9"]) == ["run=x/y", "trainer.max_epochs=9"]


HOSTILE = [
    "/a/b~c", "/a/b=c", "/a/b,c", "/a/b(c", "/a/b)c", "/a/b[c", "/a/b]c", "/a/b#c", "/a/b'c", '/a/b"c', "/a/b c",
    "/a/é&c", "/a/b{c", "/a/b}c", "/a/b:c", "/a/b\\c", "/a/b\\'c", "/a/b\\", "/a/b;c", "/a/b$c", "/a/b!c", "/a/b*c",
    "/a/b|c", "/a/b<c", "/a/b@c", "/a/日本", "/a/ b ", "a b", "007", "1e3", "1_000", "true", "nan", "3", "3.10", ".",
    "..", "-x", "+x", "'x", '"x', "x'", "choice(a)", "[a]", "{a: b}", "a,b", "=", "null2", "/a/b\\\\'c",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("verb_and_key", [("train", "data.root"), ("train", "init.file"), ("evaluate", "run")])
def test_a_path_arrives_as_it_is(path: str, verb_and_key: tuple[str, str]) -> None:
    verb, key = verb_and_key
    (word,) = prepare(verb, [f"{key}={path}"])
    assert heard(word) == path


def test_without_the_quotes_most_of_these_paths_do_not_arrive() -> None:
    def arrives(path: str) -> bool:
        try:
            return heard(f"data.root={path}") == path
        except Exception:
            return False

    assert sum(not arrives(path) for path in HOSTILE) > len(HOSTILE) / 2


@given(st.text(min_size=1, max_size=12))
@example("\\'")
@example("a\\\\'")
@example("'a")
def test_any_path_arrives(path: str) -> None:
    assume("${" not in path and path[0] != "~" and path not in ("null", "???"))
    assume(not (len(path) > 1 and path[0] == path[-1] and path[0] in "'\""))  # quoted by the user
    (word,) = prepare("train", [f"data.root={path}"])
    assert heard(word) == path


@pytest.mark.parametrize("word", ["data.root='/a/b c'", 'data.root="/a,b"', "data.root=${oc.env:X}", "init.file=null"])
def test_what_the_user_quoted_stays(word: str) -> None:
    assert prepare("train", [word]) == [word]


def test_flags_go_first_with_their_values() -> None:
    """Hydra's parser loses the overrides that stand behind a flag which stands behind overrides."""
    words = ["case=x", "-m", "seed=0,1", "--config-dir", "/c=d", "optimizer=sgd"]
    assert prepare("train", words) == ["-m", "--config-dir", "/c=d", "case=x", "seed=0,1", "optimizer=sgd"]


def test_home_is_expanded() -> None:
    (word,) = prepare("train", ["data.root=~/my photos"])
    assert heard(word) == f"{Path.home()}/my photos"
    with pytest.raises(InputError, match=r"no such user; write \./~nobody-here"):
        prepare("train", ["data.root=~nobody-here/x"])


def test_a_sweep_over_paths_splits_them_first() -> None:
    (_, word) = prepare("train", ["-m", "init.file=/a b/x,/c/y"])
    assert word == "init.file='/a b/x',/c/y"
    assert prepare("train", ["-m", "init.file='/a,b',/c"]) == ["-m", "init.file='/a,b',/c"]
    (word,) = prepare("train", ["init.file=/a b/x,/c/y"])
    assert heard(word) == "/a b/x,/c/y"


@pytest.mark.parametrize("value", ["3", "null", "true", "nan", "1.5", "-1", "inf"])
def test_an_option_that_hydra_would_take_for_a_number_stays_a_name(value: str) -> None:
    (word,) = prepare("train", [f"case={value}"])
    assert heard(word) == value
    assert prepare("train", ["freeze=none", "features=off"]) == ["freeze=none", "features=off"]


def test_mappings_take_new_keys() -> None:
    assert prepare("train", ["backbone.kwargs={pad_type: same}"]) == ["++backbone.kwargs={pad_type: same}"]
    assert prepare("train", ["+backbone.kwargs.x=1"]) == ["+backbone.kwargs.x=1"]
    assert prepare("train", ["backbone.name=x"]) == ["backbone.name=x"]


@pytest.mark.parametrize(
    ("words", "ready"),
    [
        (["-m", "freeze=lp_ft,gradual", "freeze.every=2"], ["freeze=lp_ft,gradual", "freeze.every=choice(2)"]),
        (["-m", "freeze=a,b", "freeze.train=[x, y]"], ["freeze=a,b", "freeze.train=choice([x, y])"]),
        (["-m", "freeze=a,b", "freeze.every=1,2"], ["freeze=a,b", "freeze.every=1,2"]),
        (["-m", "freeze=a,b", "freeze.every=range(1,3)"], ["freeze=a,b", "freeze.every=range(1,3)"]),
        (["-m", "freeze=a,b", "cut.keep=0.5"], ["freeze=a,b", "cut.keep=0.5"]),
        (["-m", "case=a,b", "cut.keep=0.5", "seed=1"], ["case=a,b", "cut.keep=choice(0.5)", "seed=1"]),
        (["freeze=lp_ft", "freeze.every=2"], ["freeze=lp_ft", "freeze.every=2"]),
    ],
)
def test_values_of_a_swept_group_are_set_job_by_job(words: list[str], ready: list[str]) -> None:
    assert [word for word in prepare("train", words) if word != "-m"] == ready
