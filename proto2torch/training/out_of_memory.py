"""What to do where a training runs out of memory: the batch_size and iter_size that fit, by the estimate of `show`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from proto2torch.cost.fitting import advice
from proto2torch.errors import RunError
from proto2torch.net import Net
from proto2torch.net.built import is_out_of_memory
from proto2torch.solvers.definition import SolverDefinition


@contextmanager
def explained(net: Net, definition: SolverDefinition) -> Iterator[None]:
    """Raise a RunError with the way out where the block, a step or a test of `net`, finds no memory."""
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        cause = error
    d, device = definition, net.device
    found = advice(net.graph, d.type, d.iter_size, _memory(device), str(device), failed=True)
    assert found is not None
    if net.phase == "TEST":
        hint = "a smaller batch_size here, with as many times more test_iter in the solver, tests the same records"
        raise RunError(f"out of memory: a test does not fit into {device}", where=found.where, hint=hint) from cause
    raise RunError(f"out of memory: {found.text}", where=found.where, hint=found.hint) from cause


def _memory(device: torch.device) -> int:
    """The bytes that this process can have: of a CUDA device those free and its own; of the host all that are free."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            available = next(line for line in file if line.startswith("MemAvailable"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration):
        return 0
