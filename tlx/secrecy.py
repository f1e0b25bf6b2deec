"""Secrecy: what stands under the name of a secret, or before the host of an address, is kept out of what is saved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MASK = "***"
LEAST = 4  # letters of a secret that is looked for wherever it may stand; shorter ones are part of other words
NAME = r"[\w-]*(?:passw(?:or)?d|passphrase|secret|credential|(?:api|access|private)[_-]?key)[\w-]*|(?:[\w-]+[_-])?token"
SECRET = re.compile(NAME, re.IGNORECASE)
ENVIRONMENT = re.compile(r"\$\{oc\.env:\w+\}")  # names a secret and holds none
QUOTED = r"'(?:[^'\\]|\\.|'')*'|'[^']*'|\"(?:[^\"\\]|\\.)*\"|\"[^\"]*\"|['\"].*"  # or never closed
# KEY=VALUE, KEY: VALUE, 'KEY': VALUE, each as far as the value goes.
GIVEN = re.compile(
    rf"(?<![\w-])(?P<key>['\"]?(?:{NAME})['\"]?\s*[=:]\s*)"
    rf"(?P<value>{QUOTED}|\{{[^}}]*\}}|\[[^\]]*\]|(?!\$\{{oc\.env:\w+\}})(?:\$\{{[^}}]*\}}|[^\s,;}}\])'\"])+)",
    re.IGNORECASE,
)
WORDS = re.compile(r"['\"]?(?:true|false|null|none|-?\d+(?:\.\d+)?)['\"]?", re.IGNORECASE)  # class_token=true, say
PERSON = re.compile(r"(?<=://)[^/\s\"]+(?=@)")  # of https://person:password@host; a password may have ' and @


def hidden(value: Any, key: str = "") -> Any:
    """Return plain data with a mask in the place of every secret; what the environment is to give stays as it is."""
    if _is_secret(key, value):
        return MASK
    if isinstance(value, Mapping):
        return {name: hidden(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(inner) for inner in value]
    return PERSON.sub(MASK, value) if isinstance(value, str) else value


def without_hidden(value: Any) -> Any:
    """Return plain data without what was hidden in it."""
    if isinstance(value, Mapping):
        return {name: without_hidden(inner) for name, inner in value.items() if inner != MASK}
    if isinstance(value, list | tuple):
        return [without_hidden(inner) for inner in value]
    return value.replace(f"://{MASK}@", "://") if isinstance(value, str) else value


def secrets_in(value: Any, key: str = "") -> Iterator[str]:
    """Yield the secrets in plain data, as they are written."""
    if _is_secret(key, value):
        yield from _leaves(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from secrets_in(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner)
    elif isinstance(value, str):
        yield from PERSON.findall(value)


def discreet(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with a mask in the place of ``secrets``, and of whatever stands behind the name of one."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= LEAST and secret != MASK:
            text = text.replace(secret, MASK)
    return PERSON.sub(MASK, GIVEN.sub(_masked, text))


def discreet_word(word: str, secrets: Iterable[str] = ()) -> str:
    """Return a word of a command line, KEY=VALUE, with masks; all of a value behind a secret's name is one."""
    key, equals, value = word.partition("=")
    if equals and _is_secret(key.rpartition(".")[2], value):
        return f"{key}={MASK}"
    return discreet(word, secrets)


def _is_secret(key: str, value: Any) -> bool:
    """Whether a value stands under the name of a secret; of numbers and switches, only what is surely one."""
    if value is None or isinstance(value, bool) or not SECRET.fullmatch(key.strip("+'\"")):
        return False
    text = str(value)
    harmless = WORDS.fullmatch(text) and "token" in key.lower()  # class_token, reg_tokens
    return not harmless and not ENVIRONMENT.fullmatch(text) and text not in ("", "???")


def _masked(found: re.Match[str]) -> str:
    harmless = WORDS.fullmatch(found["value"]) and "token" in found["key"].lower()
    return found[0] if harmless else found["key"] + MASK


def _leaves(value: Any) -> Iterator[str]:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else None
    if inner is None:
        yield str(value)
    else:
        for one in inner:
            yield from _leaves(one)
