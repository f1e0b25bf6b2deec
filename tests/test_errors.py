"""Errors that a person can mend, and the words that help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx import errors
from tlx.errors import Interrupted, TlxError, nearest


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("InputError", 2),
        ("MachineError", 3),
        ("NumericalError", 4),
        ("FrozenMovedError", 1),
        ("ParityError", 1),
        ("TlxError", 2),
    ],
)
def test_every_error_has_its_exit_code(kind: str, code: int) -> None:
    error = getattr(errors, kind)("what is wrong", "how to mend it")
    assert isinstance(error, TlxError)
    assert error.exit_code == code
    assert str(error) == "what is wrong; how to mend it"
    assert str(getattr(errors, kind)("what")) == "what"


def test_every_error_of_the_module_is_tested_above_or_below() -> None:
    kinds = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, TlxError)}
    assert kinds == {
        "TlxError",
        "InputError",
        "MachineError",
        "NumericalError",
        "FrozenMovedError",
        "ParityError",
        "Interrupted",
    }


@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_tells_how_to_go_on(signal_name: str, code: int) -> None:
    error = Interrupted(signal_name, "python -m tlx resume run=x")
    assert error.exit_code == code
    assert signal_name in str(error)
    assert str(error).endswith("go on with: python -m tlx resume run=x")


def test_nearest() -> None:
    known = ["small_similar", "large_similar", "small_different"]
    assert nearest("small_simlar", known).startswith("did you mean 'small_similar'")
    assert nearest("SMALL_SIMILAR", known).startswith("did you mean 'small_similar'")
    assert nearest("small", known).startswith("did you mean 'small_similar' or 'small_different'?")
    assert nearest("zzz", known) == "one of: small_similar, large_similar, small_different"
    assert nearest("", known) == "one of: small_similar, large_similar, small_different"


def test_a_long_list_is_cut() -> None:
    text = nearest("m999", [f"m{k}" for k in range(1000)])
    assert "'m999'" in text
    assert text.endswith("m29, ...")
    assert not nearest("x", [f"m{k}" for k in range(30)]).endswith("...")


@given(st.text(), st.lists(st.text(min_size=1), max_size=40))
def test_nearest_takes_any_words(word: str, known: list[str]) -> None:
    assert "one of:" in nearest(word, known)
