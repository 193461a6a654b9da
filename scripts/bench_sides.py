"""What the benches have in common: the sides that they compare, and what a side takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

Side = Callable[[], object]
Check = Callable[[], None]
"""Ends the run where the sides have not done the same."""
Found = tuple[Side, Side, Check]
"""Ours, theirs, and their check."""


class Taken(NamedTuple):
    """Seconds of the clock, and of the processor in all threads of this process."""

    clock: float
    processor: float


def taken(work: Side) -> Taken:
    """What a call takes."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return Taken(time.perf_counter() - start, time.process_time() - busy)


def in_turn(
    ours: Side, theirs: Side, rounds: int, timed: Callable[[Side], Taken] = taken
) -> Iterator[tuple[Taken, Taken]]:
    """What both sides take in each round, in an order that alternates."""
    for number in range(rounds):
        if number % 2:
            before = timed(theirs)
            yield timed(ours), before
        else:
            yield timed(ours), timed(theirs)
