"""`train --profile N`: where the time of an iteration goes, by torch's profiler, told by the net's layers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile

from proto2torch import files
from proto2torch.training.callbacks import Callback

if TYPE_CHECKING:
    from proto2torch.ir.graph import Net
    from proto2torch.training.solver import Solver

_WARM = 3  # iterations before the first that counts: memory is found, kernels are chosen
_LAYER = "layer "
_BACKWARD = "autograd::engine::evaluate_function: "
REST = "(data, update and the rest)"

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else it complains of every device that is not there


class Profile(Callback):
    """Profiles `iterations` of a training after its first ones; then, or when it ends before, writes the trace to
    PREFIX_profile.json, for chrome://tracing or Perfetto, and a table by layer into the log."""

    def __init__(self, iterations: int) -> None:
        self._wanted, self._seen = iterations, 0
        self._running: Any = None

    def start(self, solver: Solver) -> None:
        """Let each layer of the train net compute under its number."""
        solver.net.trace()
        self._seen = 0

    def iterated(self, solver: Solver) -> None:
        self._seen += 1
        if self._seen == _WARM:
            kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if solver.device.type == "cuda" else [])]
            self._running = profile(activities=kinds, acc_events=True)  # or some versions warn of cycles
            self._running.__enter__()
        elif self._running is not None and self._seen == _WARM + self._wanted:
            self._write(solver)

    def end(self, solver: Solver) -> None:
        if self._running is not None:
            self._write(solver)

    def _write(self, solver: Solver) -> None:
        self._running.__exit__(None, None, None)
        profiled, self._running = self._running, None
        path = f"{solver.prefix}_profile.json"
        with files.atomic(path) as temporary:
            profiled.export_chrome_trace(str(temporary))
        count = min(self._wanted, self._seen - _WARM)
        for line in table(solver.net.graph, profiled.events(), max(count, 1), solver.device.type):
            solver.log(line)
        solver.log(f"Profile of {count} iterations: {path}")


def table(net: Net, events: Iterable[Any], iterations: int, device: str) -> Iterator[str]:
    """Milliseconds an iteration of each layer, forward and backward, and its share; a line for what is no layer's."""
    forward, backward = _sums(list(events), "self_device_time_total" if device == "cuda" else "self_cpu_time_total")
    total = (sum(forward.values()) + sum(backward.values())) or 1
    names = {node.index: (node.name, node.type) for node in net.nodes}
    rows = [(index, name, kind) for index, (name, kind) in names.items() if forward[index] or backward[index]]
    width = max((len(name) for _, name, _ in rows), default=0)
    width = max(width, len(REST))
    yield f"{'layer':{width}}  {'type':20} {'forward ms':>10} {'backward ms':>11} {'share':>6}"
    for index, name, kind in [*rows, (None, REST, "")]:
        ahead, behind = forward[index] / 1000 / iterations, backward[index] / 1000 / iterations
        share = (forward[index] + backward[index]) / total
        yield f"{name:{width}}  {kind:20} {ahead:10.3f} {behind:11.3f} {share:6.1%}"


def _sums(events: list[Any], time: str) -> tuple[Counter[int | None], Counter[int | None]]:
    """Microseconds by layer, forward and backward; None stands for what is no layer's.

    A backward carries the number in sequence of the forward that it is the gradient of.
    """
    forward, backward = Counter[int | None](), Counter[int | None]()
    layers: dict[int, int] = {}
    for event in events:
        layer = _layer(event)
        if layer is not None:
            forward[layer] += getattr(event, time)
            if event.sequence_nr >= 0:
                layers[event.sequence_nr] = layer
    for event in events:
        if _layer(event) is None:
            found = next((e for e in _ancestors(event) if e.name.startswith(_BACKWARD)), None)
            layer = layers.get(found.sequence_nr) if found is not None else None
            (forward if layer is None else backward)[layer] += getattr(event, time)
    return forward, backward


def _layer(event: Any) -> int | None:
    """The innermost layer under whose number an event lies."""
    for one in _ancestors(event):
        if one.name.startswith(_LAYER):
            with suppress(ValueError):
                return int(one.name.removeprefix(_LAYER))
    return None


def _ancestors(event: Any) -> Iterator[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent
