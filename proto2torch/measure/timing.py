"""How long the layers of a net take, forward and backward, each by itself, and the net as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from proto2torch.net import Net, load_definition
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

Work = Callable[[], object]


@dataclass
class Times:
    """Mean milliseconds."""

    layers: list[tuple[str, float, float]] = field(default_factory=list)
    """Name, forward and backward of each layer, in order. A layer that gives no gradient takes 0 backward."""
    forward: float = 0.0
    backward: float = 0.0
    both: float = 0.0
    total: float = 0.0
    """All iterations of the net as a whole together."""
    loss: float = 0.0
    """The objective of the first forward."""


def measure(net: Net, iterations: int, each: Callable[[int, float], None] = lambda i, ms: None) -> Times:
    """Time a net that its data layers feed; where it has other inputs, they are random.

    Each layer runs by itself on the blobs that the net gives it, so that the sum of the layers is not the whole: in the
    net, layers are fused and overlap. A data layer's forward is the wait for its next batch. On CUDA, events on the
    device take the times. `each` is told of each iteration of the whole net and its milliseconds.
    """
    clock = _Clock(net.device)
    inputs = _inputs(net)
    found = Times()
    net(**inputs)
    found.loss = net.loss.item()
    _backward(net)
    for i in range(iterations):
        forward = clock.milliseconds(lambda: net(**inputs))
        backward = clock.milliseconds(lambda: _backward(net))
        found.forward, found.backward = found.forward + forward, found.backward + backward
        each(i, forward + backward)
    found.total = found.forward + found.backward
    found.forward, found.backward = found.forward / iterations, found.backward / iterations
    found.both = found.forward + found.backward
    found.layers = list(_layers(net, inputs, clock, iterations))
    return found


class _Clock:
    """Times work on a device."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def milliseconds(self, work: Work) -> float:
        if not self._cuda:
            began = time.perf_counter()
            work()
            return (time.perf_counter() - began) * 1000
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        work()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last))


def _inputs(net: Net) -> dict[str, Tensor]:
    """Random tensors for the inputs that no data layer feeds."""
    fed = {name for layer in net.layers if layer.name in net.feeds for name in layer.tops}
    return {name: torch.rand(shape, device=net.device) for name, shape in net.inputs.items() if name not in fed}


def _backward(net: Net) -> None:
    for parameter in net.parameters():
        parameter.grad = None
    if net.loss.requires_grad:
        net.loss.backward()  # type: ignore[no-untyped-call]


def _layers(net: Net, inputs: dict[str, Tensor], clock: _Clock, iterations: int) -> Iterator[tuple[str, float, float]]:
    blobs = dict.fromkeys(name for layer in net.layers for name in layer.tops)
    with torch.no_grad():
        values = net.features(*blobs, **inputs) if blobs else {}
    for definition in net.selected.layers:
        message = definition.message
        if message.name in net.feeds:
            feed = net.feeds[message.name]
            yield message.name, _mean(clock, iterations, feed.next), 0.0
        elif not message.bottom:
            yield message.name, 0.0, 0.0
        else:
            given = {name: values[name].detach() for name in dict.fromkeys(message.bottom)}
            yield message.name, *_alone(alone(definition, given, net), given, clock, iterations)


def alone(definition: LayerDefinition, given: dict[str, Tensor], net: Net) -> Net:
    """A net of one layer, its bottoms the net's inputs, with the weights that fillers give."""
    layers = [_input(name, value) for name, value in given.items()]
    whole = net.selected
    one = NetDefinition("alone", (*layers, definition), source=definition.source, fork=whole.fork, told=whole.told)
    allowed = definition.type == "Python"  # as `net` runs it
    return load_definition(one, phase=net.phase, device=net.device, allow_python_layers=allowed)


def _input(name: str, value: Tensor) -> LayerDefinition:
    message = schema.new("LayerParameter")
    message.name, message.type = f"input {name}", "Input"
    message.top.append(name)
    message.input_param.shape.add().dim.extend(value.shape)
    return LayerDefinition(message)


def _alone(net: Net, given: dict[str, Tensor], clock: _Clock, iterations: int) -> tuple[float, float]:
    """Mean milliseconds of a layer's forward and backward."""
    own = [blob.tensor for blob in net.learned if blob.tensor.requires_grad]
    labels = set(list(given)[1:])  # bottoms after the first may be labels, which take no gradient
    for name, value in given.items():
        value.requires_grad_(name not in labels or not bool((value == value.round()).all()))
    outputs: list[Tensor] = []

    def forward() -> None:
        outputs[:] = [value for value in net(**given).values() if value.requires_grad]

    def backward() -> None:
        wanted = [*(v for v in given.values() if v.requires_grad), *own]
        torch.autograd.grad(outputs, wanted, [torch.ones_like(v) for v in outputs], allow_unused=True)

    forward()
    ahead = behind = 0.0
    for _ in range(iterations):
        ahead += clock.milliseconds(forward)
        behind += clock.milliseconds(backward) if outputs else 0.0
    return ahead / iterations, behind / iterations


def _mean(clock: _Clock, iterations: int, work: Work) -> float:
    return sum(clock.milliseconds(work) for _ in range(iterations)) / iterations


def lines(times: Times, iterations: int) -> Sequence[str]:
    """The lines of `caffe time` after its iterations."""
    from proto2torch.solvers.numbers import shown

    layers = [
        f"{name:>10}\t{way}: {shown(value)} ms."
        for name, ahead, behind in times.layers
        for way, value in (("forward", ahead), ("backward", behind))
    ]
    return [
        "Average time per layer: ",
        *layers,
        f"Average Forward pass: {shown(times.forward)} ms.",
        f"Average Backward pass: {shown(times.backward)} ms.",
        f"Average Forward-Backward: {shown(times.both)} ms.",
        f"Total Time: {shown(times.total)} ms.",
        "*** Benchmark ends ***",
    ]
