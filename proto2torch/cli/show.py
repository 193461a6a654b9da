"""`proto2torch show`: the layers of a net with what they cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from proto2torch.cli import options
from proto2torch.cli.options import emit, say

if TYPE_CHECKING:
    from proto2torch.ir.graph import Shape


@click.command(short_help="Layers, shapes, parameters, multiply-adds and memory of a net.")
@click.argument("net", type=options.FILE)
@options.phase("TEST")
@options.shapes
@options.state
@options.memory_format
@options.layers
@options.python_layers
@click.option("--rule", metavar="TYPE", default="SGD", show_default=True, help="The solver type that would train it.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, in elements and bytes.")
def show(
    net: str,
    phase: str,
    shapes: dict[str, Shape],
    level: int | None,
    stage: str,
    allow_python_layers: bool,
    rule: str,
    as_json: bool,
) -> None:
    """Print the layers of NET: type, output shape, parameters, multiply-adds, memory of what they make; and the totals.

    Multiply-adds are the products of filters and matrices in one forward of the whole batch: of Convolution,
    Deconvolution, InnerProduct, LSTM and RNN. Activations are the blobs in float32, one in place of another once.
    The memory format is how planes lie in memory when the net runs: channels_last where that is faster. With --phase
    TRAIN the memory of a training step follows. A database need not be there where the net's own fields say how large
    a batch is.

    \b
    Example:
      proto2torch show deploy.prototxt
      proto2torch show train_val.prototxt --phase TRAIN --shape data=32,3,227,227
    """
    from proto2torch.cost.memory import HISTORY
    from proto2torch.cost.reading import graph
    from proto2torch.cost.table import as_object, lines
    from proto2torch.prototxt.read import read_net

    if rule not in HISTORY:
        raise click.BadParameter(f"expected one of {', '.join(HISTORY)}. Received: {rule!r}", param_hint="--rule")
    found = graph(
        read_net(net),
        phase.upper(),
        shapes=shapes,
        registry=options.registry(allow_python_layers),
        **options.net_state(level, stage),
    )
    for note in found.notes:
        say(note)
    emit(json.dumps(as_object(found, rule), indent=2) + "\n" if as_json else "\n".join([*lines(found, rule), ""]))
