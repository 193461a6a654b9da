"""What a signal asks of the training: to snapshot, or to stop. Asked once an iteration, so nothing is cut short."""

from __future__ import annotations

import signal
import threading
from enum import Enum
from types import FrameType, TracebackType
from typing import Any


class Action(Enum):
    """What is to be done; the first three values are those of --sigint-effect and --sighup-effect."""

    NONE = "none"
    STOP = "stop"
    SNAPSHOT = "snapshot"
    END = "snapshot and stop"
    """Whatever the solver says of a snapshot after the training."""


class Signals:
    """While entered, SIGINT, SIGHUP and SIGTERM are noted, and `poll` tells what they ask for.

    SIGTERM, with which a scheduler takes a machine back, always snapshots and stops. Where SIGINT or SIGTERM stops, a
    second one before the training has stopped ends it at once, as KeyboardInterrupt. Outside the main thread signals
    cannot be caught, and nothing is changed.
    """

    def __init__(self, sigint: str = "stop", sighup: str = "snapshot") -> None:
        self._effects = {signal.SIGINT: Action(sigint), signal.SIGTERM: Action.END}
        if hasattr(signal, "SIGHUP"):
            self._effects = {signal.SIGHUP: Action(sighup), **self._effects}
        self._noted: set[signal.Signals] = set()
        self._stopping = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self._effects}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def poll(self) -> Action:
        """The action of the next signal noted, SIGHUP before SIGINT; NONE where there is none."""
        for number, action in self._effects.items():
            if number in self._noted:
                self._noted.discard(number)
                return action
        return Action.NONE

    def _note(self, number: int, frame: FrameType | None) -> None:
        known = signal.Signals(number)
        if self._effects[known] in (Action.STOP, Action.END):
            if self._stopping:
                raise KeyboardInterrupt
            self._stopping = True
        self._noted.add(known)
