"""`proto2torch time`: forward and backward of a net, layer by layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from proto2torch.cli import options
from proto2torch.cli.options import emit, progress, say

if TYPE_CHECKING:
    from proto2torch.measure.timing import Times


@click.command(short_help="Time forward and backward of a net, layer by layer.")
@click.argument("net", type=options.FILE)
@click.option("--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="How often each runs.")
@options.phase("TRAIN")
@options.gpu
@options.state
@options.memory_format
@options.layers
@options.precision
@options.python_layers
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, milliseconds by layer and in all.")
def time(
    net: str,
    iterations: int,
    phase: str,
    gpu: str | None,
    level: int | None,
    stage: str,
    precision: str,
    allow_python_layers: bool,
    as_json: bool,
) -> None:
    """Time NET on its own data, or on random inputs: mean milliseconds, as `caffe time` prints them.

    Each layer is timed by itself, on CUDA with events on the device; the passes are those of the whole net, which may
    take less than its layers.

    \b
    Example:
      proto2torch time examples/digits/lenet_train_test.prototxt --iterations 20
    """
    device = options.device(gpu)
    from proto2torch.measure.timing import lines, measure
    from proto2torch.net import load
    from proto2torch.precision import choose

    choose(precision)
    state = options.net_state(level, stage, allow_python_layers=allow_python_layers)
    built = load(net, phase=phase.upper(), device=device, **state)
    for note in built.notes:
        say(note)
    with progress(iterations, "time") as advance:
        times = measure(built, iterations, lambda *_: advance())
    emit(_json(times, iterations) if as_json else "".join(f"{line}\n" for line in lines(times, iterations)))


def _json(times: Times, iterations: int) -> str:
    layers = [{"name": name, "forward_ms": ahead, "backward_ms": behind} for name, ahead, behind in times.layers]
    whole = {"forward_ms": times.forward, "backward_ms": times.backward, "total_ms": times.total}
    return json.dumps({"iterations": iterations, **whole, "layers": layers}) + "\n"
