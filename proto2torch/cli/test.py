"""`proto2torch test`: the mean of every output of the TEST net."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from proto2torch.cli import options
from proto2torch.cli.options import emit, progress, say

if TYPE_CHECKING:
    from proto2torch.training.test import Means


@click.command(short_help="Mean of every output of the TEST net over some batches.")
@click.argument("net", type=options.FILE)
@click.option("--weights", type=options.FILE, required=True, help="Weights to test: .caffemodel or .caffemodel.h5.")
@click.option(
    "--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="How many batches to run."
)
@options.gpu
@options.state
@options.memory_format
@options.layers
@options.precision
@options.python_layers
@options.strict
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: loss, and outputs by name.")
def test(
    net: str,
    weights: str,
    iterations: int,
    gpu: str | None,
    level: int | None,
    stage: str,
    precision: str,
    allow_python_layers: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Run batches of NET's own TEST data layers and print the mean of every output, as `caffe test` does.

    Without --gpu it runs on the CPU.

    \b
    Example:
      proto2torch test examples/digits/lenet_train_test.prototxt \\
          --weights examples/digits/lenet_iter_500.caffemodel --iterations 6
    """
    device = options.device(gpu)
    from proto2torch.precision import choose

    choose(precision)
    from proto2torch.training.test import run

    state = options.net_state(level, stage, allow_python_layers=allow_python_layers)
    built = options.load_net(net, weights, strict, phase="TEST", device=device, **state)
    for note in built.notes:
        say(note)
    with progress(iterations, "test") as advance:
        means = run(built, iterations, each=lambda *_: advance())
    assert means is not None
    emit(_json(means, iterations) if as_json else _text(means))


def _json(means: Means, iterations: int) -> str:
    outputs = {name: value.tolist() for name, value in means.outputs.items()}
    return json.dumps({"iterations": iterations, "loss": means.loss.item(), "outputs": outputs}) + "\n"


def _text(means: Means) -> str:
    """`Loss: 0.1`, then a line for each element of each output, as Caffe's log ends."""
    from proto2torch.solvers.numbers import shown
    from proto2torch.training.log import figures

    lines = [f"Loss: {shown(means.loss.item())}", *map(str, figures(means.outputs, means.weights))]
    return "".join(f"{line}\n" for line in lines)
