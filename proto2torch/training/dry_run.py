"""A rehearsal of a training: everything that it will do, once, so that a long run does not end in its first hour."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass

import torch

from proto2torch.training import snapshot, test
from proto2torch.training.solver import Solver


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal took."""

    seconds: float
    snapshot_bytes: int
    memory_bytes: int
    """The most that was in use: of the device, or on the CPU of the process."""


def rehearse(solver: Solver) -> Rehearsal:
    """A batch of each data layer, one train step, one batch of each test net, a snapshot into a temporary folder, a
    restore, one more step.

    The weights are changed; nothing is written where the training would write, but that place is tried.

    Raises:
        Proto2TorchError: what the training would have ended in.
    """
    d, began = solver.definition, time.perf_counter()
    if d.snapshot or d.snapshot_after_train:
        snapshot.check_writable(solver.prefix, d.document.where("snapshot_prefix"))
    if solver.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(solver.device)
    for feed in [feed for net in (solver.net, *solver.test_nets) for feed in net.feeds.values()]:
        feed.next()  # which takes no time beside a step, and shows what is wrong with the data
    solver.log("dry run: a batch of each data layer")
    solver.update()
    solver.log(f"dry run: a train step, loss = {solver.loss.item():g}")
    for i, (net, source) in enumerate(zip(solver.test_nets, d.tests, strict=True)):
        test.run(net, min(1, source.iterations))
        solver.log(f"dry run: a batch of test net #{i}")
    with tempfile.TemporaryDirectory() as folder:
        state = solver.snapshot(snapshot.names(os.path.join(folder, "dry_run"), solver.iter, d.snapshot_hdf5))
        size = sum(entry.stat().st_size for entry in os.scandir(folder))
        solver.restore(state)
    solver.log(f"dry run: a snapshot of {size / 1e6:.1f} MB, restored")
    solver.update()
    found = Rehearsal(time.perf_counter() - began, size, _memory(solver.device))
    of = "the device" if solver.device.type == "cuda" else "the process"
    solver.log(f"dry run: done in {found.seconds:.1f} s; memory of {of}: {found.memory_bytes / 1e6:.0f} MB at most")
    return found


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
