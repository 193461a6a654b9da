"""`proto2torch test`: the mean of every output of the TEST net."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from proto2torch.cli import options
from proto2torch.cli.options import emit

if TYPE_CHECKING:
    import numpy as np


@click.command(short_help="Mean of every output of the TEST net over some batches.")
@click.argument("net", type=options.FILE)
@click.option("--weights", type=options.FILE, required=True, help="Weights to test: .caffemodel or .caffemodel.h5.")
@click.option(
    "--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="How many batches to run."
)
@options.gpu
@options.state
@options.precision
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: loss, and outputs by name.")
def test(
    net: str, weights: str, iterations: int, gpu: str | None, level: int, stage: str, precision: str, as_json: bool
) -> None:
    """Run batches of NET's own TEST data layers and print the mean of every output, as `caffe test` does.

    Without --gpu it runs on the CPU.

    \b
    Example:
      proto2torch test examples/digits/lenet_train_test.prototxt \\
          --weights examples/digits/lenet_iter_500.caffemodel --iterations 4
    """
    device = options.cuda_device(gpu) if gpu else "cpu"
    options.set_precision(precision)
    from proto2torch.net import load

    built = load(net, weights, phase="TEST", level=level, stages=options.stages(stage), device=device)
    means = _means(built, iterations)
    weighted = {name: weight for name, weight in built.loss_weights.items() if name in means}
    loss = sum(weight * float(means[name].sum()) for name, weight in weighted.items())
    if as_json:
        outputs = {name: mean.tolist() for name, mean in means.items()}
        emit(json.dumps({"iterations": iterations, "loss": loss, "outputs": outputs}) + "\n")
    else:
        emit(f"Loss: {_number(loss)}\n" + "".join(_lines(means, weighted)))


def _means(net: Any, iterations: int) -> dict[str, np.ndarray]:
    """The mean of each output over `iterations` batches: summed on the device in double, and fetched once."""
    import torch

    sums: dict[str, torch.Tensor] = {}
    with (
        torch.no_grad(),
        click.progressbar(range(iterations), label="test", file=sys.stderr, hidden=not sys.stderr.isatty()) as steps,
    ):
        for _ in steps:
            for name, value in net().items():
                sums[name] = value.double() + sums[name] if name in sums else value.double()
    return {name: (total / iterations).cpu().numpy() for name, total in sums.items()}


def _lines(means: dict[str, np.ndarray], weighted: dict[str, float]) -> list[str]:
    """One line for each element of each output, a loss with its weight, as Caffe prints them."""
    lines = []
    for name, mean in means.items():
        for value in mean.reshape(-1):
            weight = weighted.get(name)
            part = f" (* {_number(weight)} = {_number(weight * value)} loss)" if weight else ""
            lines.append(f"{name} = {_number(value)}{part}\n")
    return lines


def _number(value: float) -> str:
    """Six digits, as C++ streams print a float."""
    return f"{value:g}"
