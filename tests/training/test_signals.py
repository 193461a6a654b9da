"""Signals: noted when they come, told when asked for."""

from __future__ import annotations

import os
import signal

import pytest

from proto2torch.training.signals import Action, Signals


def test_nothing_came():
    with Signals() as signals:
        assert signals.poll() is Action.NONE


def test_interrupt_stops_and_hangup_snapshots_and_is_told_first():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        assert [signals.poll() for _ in range(3)] == [Action.SNAPSHOT, Action.STOP, Action.NONE]


def test_effects_can_be_chosen():
    with Signals(sigint="snapshot", sighup="none") as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        assert [signals.poll() for _ in range(2)] == [Action.NONE, Action.SNAPSHOT]


def test_termination_snapshots_and_stops():
    with Signals(sigint="none") as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.poll() is Action.END


@pytest.mark.parametrize("polled", [False, True])
def test_a_second_interrupt_ends_at_once(polled):
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        if polled:
            signals.poll()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
