"""Signals: noted at once, acted on where the state can be saved."""

# ruff: noqa: PT012  (a signal needs a block to arrive in)

from __future__ import annotations

import os
import signal
import time

import pytest

from tlx.errors import Interrupted
from tlx.interruption import Interruption

COMMAND = "python -m tlx resume run=x"


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0)  # the handler runs between bytecodes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_ends_the_block_with_the_command_that_resumes(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=COMMAND) as error, Interruption(COMMAND).watch():
        send(number)
        pytest.fail("the signal was not acted on")
    assert error.value.exit_code == code
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_deferred_it_is_noted_and_raised_at_the_end_of_the_block(number: int) -> None:
    interruption = Interruption(COMMAND)
    reached = False
    started = time.monotonic()
    with pytest.raises(Interrupted), interruption.watch(), interruption.defer():
        send(number)
        assert interruption.signal_name == signal.Signals(number).name
        assert interruption.since is not None
        assert started <= interruption.since <= time.monotonic()
        assert interruption.error().exit_code in (130, 143)
        reached = True
    assert reached
    assert not interruption.deferred


def test_deferred_the_loop_may_raise_it_itself() -> None:
    interruption = Interruption(COMMAND)
    with pytest.raises(Interrupted), interruption.watch(), interruption.defer():
        send(signal.SIGINT)
        raise interruption.error()
    assert not interruption.deferred


def test_without_a_signal_nothing_happens() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption = Interruption(COMMAND)
    with interruption.watch() as watching, interruption.defer():
        assert watching is interruption
        assert all(signal.getsignal(number) != handler for number, handler in before.items())
    assert interruption.signal_name is None
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_second_signal_ends_a_deferred_block_at_once() -> None:
    interruption = Interruption(COMMAND)
    with pytest.raises(KeyboardInterrupt), interruption.watch(), interruption.defer():
        send(signal.SIGINT)
        send(signal.SIGINT)
        pytest.fail("the second signal was not acted on")
    assert not interruption.deferred


def test_after_the_deferred_part_signals_act_at_once_again() -> None:
    interruption = Interruption(COMMAND)
    with pytest.raises(Interrupted), interruption.watch():
        with interruption.defer():
            pass
        send(signal.SIGTERM)
        pytest.fail("the signal was not acted on")


def test_handlers_are_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), Interruption(COMMAND).watch():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_in_the_block_is_not_replaced_by_the_signal() -> None:
    interruption = Interruption(COMMAND)
    with pytest.raises(ZeroDivisionError), interruption.watch(), interruption.defer():
        send(signal.SIGINT)
        raise ZeroDivisionError
