"""A line on a terminal that says how far a long work has come, and how fast it goes."""

from __future__ import annotations

import sys
import time

_EVERY = 0.2  # seconds between two lines


class Progress:
    """Counts to `count`; silent where stderr is no terminal."""

    def __init__(self, count: int, unit: str = "images") -> None:
        self._count, self._unit = count, unit
        self._done = 0
        self._began = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def step(self, by: int = 1) -> None:
        """Some more are done."""
        self._done += by
        now = time.monotonic()
        if self._terminal and (now - self._shown >= _EVERY or self._done >= self._count):
            self._shown = now
            rate = self._done / max(now - self._began, 1e-6)
            line = f"{self._done} of {self._count} {self._unit}, {rate:.0f} a second"
            print(f"\r{line:<60}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._done:
            print(file=sys.stderr, flush=True)
