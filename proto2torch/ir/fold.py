"""Repeated blocks: spans of a net's steps that are one another up to their numbers and names.

Three kinds are looked for. A unit is a layer that learns with what only normalises or rectifies behind it. A segment
lies between two places where a single value is alive: a residual block, an Inception module. A word is a chain of
layers that comes again. Of each, only what makes the source shorter counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from proto2torch.ir.graph import Value

_REACH = 64  # steps; a value that is read later than this is a net's long connection, not a block's
_LONGEST_WORD = 24
AROUND = 9
"""The lines of a class around those of its layers."""

_MOST_INPUTS = 2


class Step(Protocol):
    """What the pass needs to know of a step."""

    @property
    def label(self) -> Hashable:
        """Equal in steps that are one another up to numbers and names."""

    @property
    def type(self) -> str: ...

    @property
    def inputs(self) -> tuple[Value, ...]: ...

    @property
    def outputs(self) -> tuple[Value, ...]: ...

    @property
    def module(self) -> str | None: ...

    @property
    def leads(self) -> bool: ...

    @property
    def foldable(self) -> bool: ...

    @property
    def keeps_shape(self) -> bool: ...


class Line:
    """Steps in order, with what reads what."""

    def __init__(self, steps: Sequence[Step], returned: Iterable[Value]) -> None:
        self.steps = steps
        numbers: dict[Hashable, int] = {}
        self.labels = [numbers.setdefault(step.label, len(numbers)) for step in steps]
        self.born = {v: (i, k) for i, step in enumerate(steps) for k, v in enumerate(step.outputs)}
        self.readers: dict[Value, list[int]] = defaultdict(list)
        for i, step in enumerate(steps):
            for value in step.inputs:
                self.readers[value].append(i)
        self.returned = frozenset(returned)

    def outputs(self, span: range) -> list[Value]:
        """What a span gives to what lies behind it."""
        made = [v for i in span for v in self.steps[i].outputs]
        return [v for v in made if v in self.returned or any(r not in span for r in self.readers[v])]

    def inputs(self, span: range) -> list[Value]:
        """What a span reads, in the order of its reading."""
        read = [v for i in span for v in self.steps[i].inputs]
        return list(dict.fromkeys(v for v in read if v not in self.born or self.born[v][0] not in span))

    def is_block(self, span: range) -> bool:
        """Whether it can be a class: it may move, it learns, and it gives one value."""
        steps = [self.steps[i] for i in span]
        whole = all(step.foldable for step in steps) and any(step.module for step in steps)
        return whole and len(self.outputs(span)) == 1 and 1 <= len(self.inputs(span)) <= _MOST_INPUTS

    def signature(self, span: range) -> Hashable:
        """Equal in spans that are one another up to numbers and names: labels, wiring, and which value goes out."""
        outer = {v: i for i, v in enumerate(self.inputs(span))}

        def place(value: Value) -> Hashable:
            return ("in", outer[value]) if value in outer else (self.born[value][0] - span.start, self.born[value][1])

        wiring = tuple(tuple(place(v) for v in self.steps[i].inputs) for i in span)
        labels = tuple(self.labels[span.start : span.stop])
        return labels, wiring, tuple(place(v) for v in self.outputs(span))

    def follows(self, i: int) -> bool:
        """Whether step i reads the value of the step before it, and nothing else reads that."""
        if i == 0 or i >= len(self.steps):
            return False
        before, step = self.steps[i - 1], self.steps[i]
        value = before.outputs[0] if len(before.outputs) == 1 else None
        return step.inputs == (value,) and self.readers[step.inputs[0]] == [i] and value not in self.returned

    def saving(self, spans: Sequence[range]) -> int:
        """The lines that a class saves, roughly: a constructor for each module, a line for each step that leads."""
        steps = [self.steps[i] for i in spans[0]]
        lines = sum((step.module is not None) + (step.leads or len(step.inputs) > 1) for step in steps)
        return len(spans) * (lines - 2) - lines - AROUND


def units(line: Line) -> list[list[range]]:
    """Each leading step with the steps behind it that only normalise or rectify, where two or more learn."""
    groups: dict[Hashable, list[range]] = defaultdict(list)
    for i, step in enumerate(line.steps):
        if not step.leads:
            continue
        end = i + 1
        while line.follows(end) and line.steps[end].keeps_shape and not line.steps[end].leads:
            end += 1
        span = range(i, end)
        if sum(line.steps[k].module is not None for k in span) > 1 and line.is_block(span):
            groups[line.signature(span)].append(span)
    return _worth(line, groups.values())


def segments(line: Line) -> list[list[range]]:
    """The spans between places where a single value is alive, and wherever else the same spans stand."""
    groups: dict[Hashable, list[range]] = defaultdict(list)
    for start, end in pairwise(_cuts(line)):
        span = range(start, end)
        if len(span) > 1 and line.is_block(span):
            groups[line.signature(span)].append(span)
    everywhere = [_occurrences(line, signature, spans[0]) for signature, spans in groups.items()]
    chosen = _worth(line, everywhere)
    taken = {i for spans in chosen for span in spans for i in span}
    for grow in (_rightward, _leftward):
        chosen = [_grown(line, spans, grow, taken) for spans in chosen]
    return chosen


def _grown(
    line: Line, spans: list[range], grow: Callable[[Line, range, set[int]], int | None], taken: set[int]
) -> list[range]:
    """The spans with the steps that `grow` finds beside every one of them, as long as they stay equal."""
    while True:
        added = [at for span in spans if (at := grow(line, span, taken)) is not None]
        if len(added) < len(spans):
            return spans
        wider = [range(min(s.start, at), max(s.stop, at + 1)) for s, at in zip(spans, added, strict=True)]
        if len({line.signature(span) for span in wider}) > 1 or not all(map(line.is_block, wider)):
            return spans
        taken.update(added)
        spans = wider


def _cuts(line: Line) -> list[int]:
    """The steps before which a single value is alive; one that is read far behind its last reader counts no longer."""
    alive = [0] * (len(line.steps) + 1)
    for value, readers in line.readers.items():
        end = born = line.born[value][0] + 1 if value in line.born else 0
        for reader in readers:
            if reader + 1 - end > _REACH:
                break
            end = reader + 1
        for at in range(born, end):
            alive[at] += 1
    return [at for at in range(len(line.steps)) if alive[at] == 1] + [len(line.steps)]


def _occurrences(line: Line, signature: Hashable, first: range) -> list[range]:
    length, labels = len(first), line.labels[first.start : first.stop]
    found: list[range] = []
    start = 0
    while start + length <= len(line.steps):
        span = range(start, start + length)
        same = line.labels[start : start + length] == labels
        if same and line.is_block(span) and line.signature(span) == signature:
            found.append(span)
            start += length
        else:
            start += 1
    return found


def _rightward(line: Line, span: range, taken: set[int]) -> int | None:
    """The step behind a span that only rectifies what the span gives."""
    at = span.stop
    if at >= len(line.steps) or at in taken or line.steps[at].module or not line.steps[at].keeps_shape:
        return None
    value = line.outputs(span)[0]
    alone = line.readers[value] == [at] and value not in line.returned
    return at if alone and line.steps[at].inputs == (value,) else None


def _leftward(line: Line, span: range, taken: set[int]) -> int | None:
    """The step before a span that normalises or rectifies for it alone."""
    at = span.start - 1
    if at < 0 or at in taken or not line.steps[at].keeps_shape:
        return None
    value = line.steps[at].outputs[0]
    inside = all(reader in span for reader in line.readers[value]) and value not in line.returned
    return at if inside and line.inputs(span) == [value] else None


def word(line: Line, is_one: Callable[[range], bool]) -> list[range]:
    """The chain of two or more leading steps whose folding saves most; empty where none saves. `is_one` says whether a
    span reads as one thing."""
    groups: dict[Hashable, list[range]] = defaultdict(list)
    for i, step in enumerate(line.steps):
        if not step.leads or not step.foldable:
            continue
        end, leading = i + 1, 1
        while line.follows(end) and line.steps[end].foldable and end - i < _LONGEST_WORD:
            leading += line.steps[end].leads
            end += 1
            span = range(i, end)
            ends = not line.follows(end) or line.steps[end].leads or not line.steps[end].keeps_shape
            if ends and leading > 1 and _is_primitive(line.labels[i:end]) and line.is_block(span) and is_one(span):
                spans = groups[line.signature(span)]
                if not spans or spans[-1].stop <= i:
                    spans.append(span)
    best = max(groups.values(), key=line.saving, default=[])
    return best if len(best) > 1 and line.saving(best) > 0 else []


def _is_primitive(labels: Sequence[int]) -> bool:
    """Whether it is no shorter word said several times."""
    n = len(labels)
    return not any(n % k == 0 and labels[: n - k] == labels[k:] for k in range(1, n))


def _worth(line: Line, groups: Iterable[list[range]]) -> list[list[range]]:
    """Those groups that save lines, the best first, without what a better one has taken."""
    chosen = []
    taken: set[int] = set()
    for spans in sorted(groups, key=line.saving, reverse=True):
        free = [span for span in spans if not taken.intersection(span)]
        if len(free) > 1 and line.saving(free) > 0:
            chosen.append(free)
            taken.update(i for span in free for i in span)
    return chosen
