"""`proto2torch draw`: a net as a picture, or as a page to look around in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from proto2torch.cli import options
from proto2torch.cli.options import say

if TYPE_CHECKING:
    from proto2torch.ir.graph import Shape


@click.command(short_help="The graph of a net: .svg, .png or .pdf by graphviz, or one .html page.")
@click.argument("net", type=options.FILE)
@click.option(
    "-o", "--output", metavar="FILE", type=options.FILE, required=True, help="The picture: .svg .png .pdf .html .dot."
)
@click.option(
    "--rankdir",
    type=click.Choice(["TB", "BT", "LR", "RL"], case_sensitive=False),
    default="TB",
    show_default=True,
    help="Where the net goes: top to bottom, left to right …",
)
@click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST", "ALL"], case_sensitive=False),
    default="ALL",
    show_default=True,
    help="The layers of one phase, or of both.",
)
@click.option("--folded", is_flag=True, help="A repeated block as one box; in a page, blocks open and close anyway.")
@options.shapes
@options.state
@options.layers
@options.python_layers
def draw(
    net: str,
    output: str,
    rankdir: str,
    phase: str,
    folded: bool,
    shapes: dict[str, Shape],
    level: int | None,
    stage: str,
    allow_python_layers: bool,
) -> None:
    """Draw NET: boxes by the kind of layer, shapes on the arrows, repeated blocks framed.

    A page, -o net.html, needs nothing to be made or opened and asks no host for anything: blocks open and close, layers
    are searched, and a click shows a layer's prototxt and its PyTorch. The other pictures are drawn by graphviz.

    Layers that are not supported, and nets whose databases are not there, are drawn without shapes.

    \b
    Example:
      proto2torch draw deploy.prototxt -o net.html
      proto2torch draw train_val.prototxt -o net.svg --phase TRAIN --rankdir LR
    """
    from proto2torch.drawing import build
    from proto2torch.drawing import draw as write
    from proto2torch.prototxt.read import read_net

    diagram = build(
        read_net(net),
        phase.upper(),
        shapes=shapes,
        registry=options.registry(allow_python_layers),
        **options.net_state(level, stage),
    )
    for note in diagram.notes:
        say(note)
    said = write(diagram, output, direction=rankdir.upper(), fold=folded)
    if said:
        say(said)
    say(f"{output}: written")
