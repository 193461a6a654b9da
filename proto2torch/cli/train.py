"""`proto2torch train`: a solver file, carried out."""

from __future__ import annotations

import click

from proto2torch.cli import options


@click.command(short_help="Train a net as its solver says, with Caffe's log and snapshots.")
@click.argument("solver", type=options.FILE)
@options.gpu
@options.precision
def train(solver: str, gpu: str | None, precision: str) -> None:
    """Train as SOLVER says. The log, with Caffe's lines, goes to stderr.

    \b
    Example:
      proto2torch train examples/digits/lenet_solver.prototxt
    """
