"""What a forward holds at its peak, counted in elements of the values that are alive while a step runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import prod

from proto2torch.codegen.steps import Step
from proto2torch.ir.graph import Value


def peak(steps: Sequence[Step], returned: Iterable[Value], kept: Collection[Value] = ()) -> int:
    """The most elements alive at once: of the values that a later step reads or that are `returned`, and of those
    `kept` to the end once they are made. A caller holds the inputs in any case; they do not count."""
    last = {value: i for i, step in enumerate(steps) for value in step.inputs}
    last |= dict.fromkeys([*kept, *returned], len(steps))
    alive: dict[Value, int] = {}
    highest = 0
    for i, step in enumerate(steps):
        alive |= {value: prod(value.shape) for value in step.outputs}
        highest = max(highest, sum(alive.values()))
        alive = {value: size for value, size in alive.items() if last.get(value, -1) > i}
    return highest
