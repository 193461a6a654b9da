"""`proto2torch import-weights`: weights trained in an exported model.py, as a file that Caffe reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from proto2torch.cli import options
from proto2torch.cli.group import refuse
from proto2torch.cli.options import say

if TYPE_CHECKING:
    from proto2torch.ir.graph import Shape

_ENDINGS = (".caffemodel", ".h5", ".safetensors")


@click.command(short_help="Weights trained in an exported model.py, back to a .caffemodel.")
@click.argument("weights", type=options.FILE)
@click.argument("net", type=options.FILE)
@click.option("-o", "--output", metavar="FILE", type=options.FILE, required=True, help="A .caffemodel, or its .h5.")
@options.phase("TEST")
@options.shapes
@options.state
@options.layers
@options.python_layers
def import_weights(
    weights: str,
    net: str,
    output: str,
    phase: str,
    shapes: dict[str, Shape],
    level: int | None,
    stage: str,
    allow_python_layers: bool,
) -> None:
    """Write the WEIGHTS of a module that export wrote of NET, a .safetensors or a .pt, as Caffe keeps them.

    Every value is the same bit for bit. BatchNorm's sums are written for a scale of 1.

    \b
    Example:
      proto2torch export net.prototxt --weights old.caffemodel -o model.py
      …                                        # train model.py, and save its state_dict
      proto2torch import-weights model.safetensors net.prototxt -o new.caffemodel
    """
    if not output.endswith(_ENDINGS):
        refuse(f"the ending of -o must be {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}. Received: {output}")
    from proto2torch.exporting import way_back
    from proto2torch.exporting.job import Job

    job = Job(net, phase.upper(), level or 0, options.stages(stage), shapes, allow_python_layers)
    found, report = way_back.import_weights(job, weights)
    for line in report.lines():
        say(line)
    found.save(output)
    say(f"{output}: written")
