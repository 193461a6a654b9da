"""`proto2torch deploy`: the deploy net of a training net."""

from __future__ import annotations

from typing import Any

import click

from proto2torch.cli import options
from proto2torch.cli.group import refuse
from proto2torch.cli.images import Numbers
from proto2torch.cli.options import emit, say


@click.command(short_help="The deploy net of a train_val net.")
@click.argument("net", type=options.FILE)
@click.option("-o", "--output", metavar="FILE", type=options.FILE, help="Where to write; without it, stdout.")
@click.option("--shape", type=Numbers(1, 2, 3), metavar="C,H,W", help="Of an image, where only the data says it.")
@options.state
@options.layers
def deploy(net: str, output: str | None, shape: tuple[int, ...] | None, level: int | None, stage: str) -> None:
    """Print NET for use: its data layers become inputs, its softmax loss `prob`; labels, accuracies and fillers go.

    Layers and blobs keep their names, so that trained weights fit.

    \b
    Example:
      proto2torch deploy train_val.prototxt -o deploy.prototxt
    """
    from proto2torch.predict import deploy as nets
    from proto2torch.prototxt.read import read_net
    from proto2torch.prototxt.text import dump

    definition = read_net(net)

    def shapes(layer: Any) -> Any:
        if shape is not None:
            return [(1, *shape)] * len(layer.message.top)
        from proto2torch.predict.images import input_shapes

        return input_shapes(layer)

    made = nets.deploy(definition, shapes, **options.net_state(level, stage))
    if not any(layer.type == "Input" for layer in made.layers):
        refuse(f"{net}: it has no data layer and no input")
    text = dump(nets.message(made))
    if output is None:
        emit(text)
        return
    from proto2torch.files import atomic

    with atomic(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"{output}: written")
