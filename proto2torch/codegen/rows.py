"""Rows of blocks as nn.Sequential: equal ones, and ones whose numbers grow evenly, each written once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proto2torch.codegen.call import Call

_FEWEST = 3  # blocks; between two numbers every step is even


@dataclass(frozen=True)
class Row:
    """A stretch of a chain of blocks, and the constructor of all of it."""

    span: range
    text: str


@dataclass(frozen=True)
class _Run:
    """Blocks of one class, each number of theirs growing by its own step."""

    first: Call
    count: int
    steps: tuple[int, ...]

    @property
    def text(self) -> str:
        if self.count == 1:
            return self.first.text
        pairs = zip(self.first.values, self.steps, strict=True)
        values = [_progression(value, step) if step else value for value, step in pairs]
        variable = "i" if any(self.steps) else "_"
        return f"*[{self.first.with_values(values).text} for {variable} in range({self.count})]"


def rows_of(calls: Sequence[Call], first: int) -> list[Row]:
    """The rows in a chain of blocks that begins at `first`: two equal ones or three that grow evenly are the fewest.

    A single block of another class goes along with the row behind it. Two equal ones between others of their class are
    no row.
    """
    runs = _runs(calls)
    found: list[Row] = []
    start = first
    for i, run in enumerate(runs):
        before, behind = runs[i - 1] if i else None, runs[i + 1] if i + 1 < len(runs) else None
        kin = [other for other in (before, behind) if other and other.first.function == run.first.function]
        if run.count > 2 or (run.count > 1 and not kin):
            led = before is not None and before.count == 1 and before.first.function != run.first.function
            given = ([before.text] if led and before else []) + [run.text]
            found.append(Row(range(start - led, start + run.count), f"nn.Sequential({', '.join(given)})"))
        start += run.count
    return found


def _runs(calls: Sequence[Call]) -> list[_Run]:
    runs = []
    at = 0
    while at < len(calls):
        count, steps = _run(calls[at:])
        runs.append(_Run(calls[at], count, steps))
        at += count
    return runs


def _run(calls: Sequence[Call]) -> tuple[int, tuple[int, ...]]:
    """How many blocks from the first on make one run, and by how much each number grows."""
    alone = (1, (0,) * len(calls[0].values))
    if len(calls) == 1:
        return alone
    steps = _difference(calls[0], calls[1])
    count = 1
    while count < len(calls) and steps is not None and _difference(calls[count - 1], calls[count]) == steps:
        count += 1
    return alone if steps is None or (any(steps) and count < _FEWEST) else (count, steps)


def _difference(one: Call, other: Call) -> tuple[int, ...] | None:
    """What is to be added to each number; None where that is no whole number."""
    if one.function != other.function:
        return None
    pairs = list(zip(one.values, other.values, strict=True))
    if not all(a == b or (a.isdecimal() and b.isdecimal()) for a, b in pairs):
        return None
    return tuple(0 if a == b else int(b) - int(a) for a, b in pairs)


def _progression(value: str, step: int) -> str:
    return f"{value} {'-' if step < 0 else '+'} {abs(step)} * i"
