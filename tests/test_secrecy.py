"""Secrecy: what stands under the name of a secret, or before a host, is masked, and what resembles one is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tlx.secrecy import ENVIRONMENT, LEAST, MASK, discreet, discreet_word, hidden, secrets_in, without_hidden

CANARY = "CANARY_51c"
SECRETS = [
    "password", "passwd", "db_password", "PASSWORD", "passphrase", "client_secret", "secrets", "credentials",
    "api_key", "apikey", "api-key", "access_key_id", "private_key", "token", "hf_token", "auth-token", "HF_TOKEN",
    "class_token",
]  # fmt: skip
OTHERS = ["tokens", "tokenizer", "reg_tokens", "pretoken", "key", "keys", "monkey", "pass", "passes", "sword", "name"]
PATHS = [
    "https://{}@host/x", "s3://{}@bucket", "postgresql://{}@host:5432/db?a=b", "see https://{}@host/x, then",
]  # fmt: skip
WORD = st.text("abcXYZ019._-+!$&*~%#", min_size=LEAST, max_size=12).map(lambda text: f"Q{text}")
LEAVES = st.none() | st.booleans() | st.integers() | st.text("ab:/@ ", max_size=8) | WORD
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SECRETS + OTHERS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", SECRETS)
def test_what_stands_under_a_name_of_a_secret_is_hidden_as_a_whole(name: str) -> None:
    for value in (CANARY, {"a": CANARY}, [CANARY, {"b": CANARY}], f"${{oc.env:X,{CANARY}}}", f"${{oc.env:X}}{CANARY}"):
        plain = {"x": [{name: value, "seed": 3}]}
        assert hidden(plain) == {"x": [{name: MASK, "seed": 3}]}
        assert all(CANARY in secret for secret in secrets_in(plain))
        assert list(secrets_in(plain))
        for key in (name, f"++a.{name}", f"a.b.'{name}'"):
            assert discreet_word(f"{key}={value}") == f"{key}={MASK}"


@pytest.mark.parametrize("name", OTHERS)
def test_names_that_only_resemble_one_hide_nothing(name: str) -> None:
    plain = {name: [CANARY, {"x": CANARY}]}
    assert hidden(plain) == plain
    assert list(secrets_in(plain)) == []
    assert discreet_word(f"a.{name}={CANARY}") == f"a.{name}={CANARY}"
    assert discreet(f"{name}: {CANARY}") == f"{name}: {CANARY}"


@pytest.mark.parametrize("value", [None, True, False, "", "???", "${oc.env:X}"])
def test_what_is_none_under_such_a_name_stays(value: Any) -> None:
    plain = {"password": value, "token": value}
    assert hidden(plain) == plain
    assert list(secrets_in(plain)) == []


def test_numbers_and_switches_are_no_tokens_but_may_be_passwords() -> None:
    for value in (1, 0, -1, 2.5, "true", "False", "null", "12"):
        assert hidden({"class_token": value, "password": value}) == {"class_token": value, "password": MASK}
        assert discreet_word(f"m.class_token={value}") == f"m.class_token={value}"
        assert discreet(f"class_token={value}, password={value}") == f"class_token={value}, password={MASK}"
        assert discreet_word(f"m.password={value}") == f"m.password={MASK}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("person", ["me", "me:CANARY_51c", "me:p@CANARY_51c", "me:it's_CANARY_51c", "me:CANARY_51c@@"])
def test_a_person_before_a_host_is_hidden_however_the_password_is_written(path: str, person: str) -> None:
    address = path.format(person)
    assert hidden({"root": [address]}) == {"root": [path.format(MASK)]}
    assert list(secrets_in({"root": address})) == [person]
    assert discreet(f"cannot read {address}") == f"cannot read {path.format(MASK)}"
    assert discreet_word(f"data.root={address}") == f"data.root={path.format(MASK)}"
    assert without_hidden({"root": [path.format(MASK)]}) == {"root": [path.format("@").replace("@@", "")]}


@pytest.mark.parametrize("text", ["https://host/a@b", "me@host", "https://host x@y", "a:b@c", "//me@host", "@", "://"])
def test_an_at_elsewhere_is_none(text: str) -> None:
    assert hidden(text) == discreet(text) == without_hidden(text) == text
    assert list(secrets_in(text)) == []


@given(PLAIN)
@example({"token": ["None"]})
@example([{"x": [{"password": "Qabcd"}]}])
def test_hiding_is_done_once_and_leaves_no_secret_that_was_found(plain: Any) -> None:
    once = hidden(plain)
    assert hidden(once) == once
    assert [secret for secret in secrets_in(once) if MASK not in secret] == []
    assert (once == plain) == (list(secrets_in(plain)) == [] and not empties(plain))
    assert MASK not in json.dumps(without_hidden(once))


def empties(value: Any, key: str = "") -> bool:
    """Whether an empty group stands under the name of a secret: it is hidden, and there is nothing to look for."""
    pairs: list[tuple[str, Any]] = list(value.items()) if isinstance(value, dict) else []
    pairs += [("", one) for one in value] if isinstance(value, list) else []
    return hidden({key: value}) == {key: MASK} or any(empties(one, name) for name, one in pairs)


def test_what_was_hidden_is_left_out_at_every_depth() -> None:
    plain = {"a": [{"token": MASK, "x": 1}, f"s3://{MASK}@host"], "password": MASK, "root": f"https://{MASK}@h/x"}
    assert without_hidden(plain) == {"a": [{"x": 1}, "s3://host"], "root": "https://h/x"}
    kept = {"a": [{"x": None}, "**", "*** three stars"], "b": {}}
    assert without_hidden(kept) == kept


FORMS = {
    "bare": lambda name, value: f"failed with {name}={value}, depth=3",
    "spaced": lambda name, value: f"{name} = {value}; depth",
    "python": lambda name, value: repr({name: value, "depth": 3}),
    "json": lambda name, value: json.dumps({name: value, "depth": 3}),
    "yaml": lambda name, value: yaml.safe_dump({name: value, "depth": 3}),
    "call": lambda name, value: f"create_model({name}={value!r}, depth=3)",
    "group": lambda name, value: f"{name}={{'id': {value!r}}}, depth=3",
    "list": lambda name, value: f"{name}=[{value!r}, {value!r}], depth=3",
    "default": lambda name, value: f"{name}=${{oc.env:X,{value}}}, depth=3",
    "joined": lambda name, value: f"{name}=${{oc.env:X,{value}}}{value}, depth=3",
    "hydra": lambda name, value: f"x={{{name}:{value},depth:3}}",
    "cut off": lambda name, value: f"depth, {{'{name}': '{value}...",
}


@given(st.sampled_from(sorted(FORMS)), st.sampled_from(SECRETS), WORD)
def test_a_text_keeps_no_value_behind_such_a_name_however_it_is_written(form: str, name: str, value: str) -> None:
    text = FORMS[form](name, value)
    said = discreet(text)
    assert value not in said
    assert MASK in said
    assert "depth" in said or form == "cut off"
    # The negative control: under another name it stays, unless it is known.
    other = FORMS[form]("other", value)
    assert discreet(other) == other
    assert value not in discreet(other, [value])


@pytest.mark.parametrize("value", ["it's CANARY", 'a "CANARY" b', "x' CANARY", "' and \" CANARY", "CANARY\\"])
@pytest.mark.parametrize("form", ["python", "json", "call", "group"])
def test_quotes_inside_a_value_do_not_end_it(form: str, value: str) -> None:
    said = discreet(FORMS[form]("password", value))
    assert "CANARY" not in said
    assert "depth" in said


def test_what_the_environment_is_to_give_is_no_secret() -> None:
    text = "password=${oc.env:X}, token: ${oc.env:Y}"
    assert ENVIRONMENT.search(text)
    assert discreet(text) == text
    assert discreet_word("a.password=${oc.env:X}") == "a.password=${oc.env:X}"


@given(st.sets(WORD, min_size=1, max_size=4))
@example({"Qabcd", "Qabcdefgh"})  # one is the beginning of the other
def test_known_secrets_stand_nowhere(secrets: set[str]) -> None:
    text = " and ".join(f"<{secret}>" for secret in sorted(secrets))
    assert discreet(text, secrets) == " and ".join([f"<{MASK}>"] * len(secrets))
    assert discreet_word(f"note={text}", secrets) == f"note={discreet(text, secrets)}"


def test_a_short_secret_is_looked_for_only_behind_its_name() -> None:
    assert discreet("the cat; password=cat", ["cat"]) == f"the cat; password={MASK}"
    assert discreet("the cats", ["cats"]) == f"the {MASK}"
