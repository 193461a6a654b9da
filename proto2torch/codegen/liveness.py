"""What a forward holds while a step runs, counted in elements of the values that are alive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import prod

from proto2torch.codegen.steps import Step
from proto2torch.ir.graph import Value

_NO_MEMORY_OF_ITS_OWN = frozenset({"InnerProduct"})  # of the steps that lead; a convolution lays weights and values out


def are_free(steps: Sequence[Step], returned: Iterable[Value], kept: Collection[Value]) -> bool:
    """Whether values that are `kept` to the end, once they are made, take no memory at the peak.

    Nobody knows what a convolution takes beside what it reads and makes: nothing may be alive there that no later step
    reads. Other steps may take as much again as they make. A caller holds the inputs in any case; they do not count.
    """
    last = {value: i for i, step in enumerate(steps) for value in step.inputs}
    last |= dict.fromkeys(returned, len(steps))
    keep = set(kept)
    alive: dict[Value, int] = {}
    dead = highest = needed = 0
    for i, step in enumerate(steps):
        made = {value: prod(value.shape) for value in step.outputs}
        alive |= made
        held = sum(alive.values())
        highest = max(highest, held)
        if dead:
            if step.leads and step.type not in _NO_MEMORY_OF_ITS_OWN:
                return False
            needed = max(needed, held + dead + sum(made.values()))
        dead += sum(size for value, size in alive.items() if value in keep and last.get(value, -1) <= i)
        alive = {value: size for value, size in alive.items() if last.get(value, -1) > i}
    return needed <= highest
