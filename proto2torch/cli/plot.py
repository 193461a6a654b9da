"""`proto2torch plot`: the learning curves of training logs."""

from __future__ import annotations

import click

from proto2torch.cli import options


@click.command(short_help="The learning curves of training logs, Caffe's or ours.")
@click.argument("logs", nargs=-1, required=True, metavar="LOG…", type=options.FILE)
@click.option("-o", "--output", metavar="FILE", type=options.FILE, required=True, help="The picture: .png, .svg, .pdf.")
def plot(logs: tuple[str, ...], output: str) -> None:
    """Draw loss, test outputs and learning rate of one or more LOGs, of `caffe train` or of `proto2torch train`.

    \b
    Example:
      proto2torch train solver.prototxt 2>&1 | tee run.log
      proto2torch plot run.log -o curve.png
      proto2torch plot caffe.log ours.log -o both.svg
    """
    from proto2torch.curves.draw import draw
    from proto2torch.curves.log_file import read

    draw([read(path) for path in dict.fromkeys(logs)], output)
    options.say(f"{output}: written")
