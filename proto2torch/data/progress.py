"""A bar on a terminal that says how far a long work has come, how fast it goes and how long it still takes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sized

_EVERY = 0.2  # seconds between two drawings
_BAR = 24  # characters


class Progress:
    """Counts the things `of` which there are so many; silent where stderr is no terminal, and there nothing asks for
    their number. As a context it leaves its line at the end."""

    def __init__(self, of: int | Sized, unit: str = "images") -> None:
        self._unit = unit
        self._done = 0
        self._began = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._count = of if isinstance(of, int) else len(of) if self._terminal else 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *reason: object) -> None:
        self.end()

    def step(self, by: int = 1) -> None:
        """Some more are done."""
        self._done += by
        now = time.monotonic()
        if self._terminal and (now - self._shown >= _EVERY or self._done >= self._count):
            self._shown = now
            self._draw(now - self._began)

    def note(self, text: str) -> None:
        """A line of its own, above the bar."""
        print(f"\r{text:<79}" if self._terminal else text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line; a second call does nothing."""
        if self._terminal and self._done:
            print(file=sys.stderr, flush=True)
        self._terminal = False

    def _draw(self, seconds: float) -> None:
        full = _BAR * self._done // max(self._count, 1)
        rate = self._done / max(seconds, 1e-6)
        text = f"[{'#' * full}{'-' * (_BAR - full)}] {self._done} of {self._count} {self._unit}, {rate:.0f} a second"
        if self._done < self._count:
            text += f", {_left((self._count - self._done) / rate)} left"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:<{min(width, 79)}}", end="", file=sys.stderr, flush=True)


def _left(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{hours} h"
