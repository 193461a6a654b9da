"""`proto2torch mean`: the mean image of a database."""

from __future__ import annotations

import json

import click

from proto2torch.cli.caffe_tool import CaffeTool
from proto2torch.cli.convert import BACKENDS
from proto2torch.cli.group import refuse
from proto2torch.cli.options import FILE, emit, say


@click.command(cls=CaffeTool, short_help="The mean image of a database.")
@click.argument("db", type=FILE)
@click.argument("written", metavar="[OUTPUT]", type=FILE, required=False)
@click.option("-o", "--output", metavar="FILE", type=FILE, help="Where to write the mean image, a .binaryproto.")
@click.option("--backend", type=click.Choice(BACKENDS), help="The kind of database; without it, what it is.")
@click.option("--json", "as_json", is_flag=True, help="Print the shape and the mean of each channel as JSON.")
def mean(db: str, written: str | None, output: str | None, backend: str | None, as_json: bool) -> None:
    """The mean of all images of DB, as Caffe's compute_image_mean; prints the mean of each channel (for mean_value).

    \b
    Example:
      proto2torch mean train_lmdb -o mean.binaryproto
      proto2torch mean -backend=lmdb train_lmdb mean.binaryproto
    """
    if written and output:
        refuse(f"the mean goes to one file. Received: {written!r} and -o {output!r}")
    output = output or written
    from proto2torch.data.mean import channel_means
    from proto2torch.data.mean import mean as mean_of
    from proto2torch.weights import blobproto

    image = mean_of(db, backend)
    if output is not None:
        blobproto.write(output, image[None])
        say(f"{output}: written, {' x '.join(map(str, image.shape))}")
    means = channel_means(image)
    if as_json:
        emit(json.dumps({"shape": image.shape, "mean_value": means}) + "\n")
    else:
        emit("".join(f"mean_value channel [{channel}]: {value:g}\n" for channel, value in enumerate(means)))
